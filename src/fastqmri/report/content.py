"""What a report is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from fastqmri.core import Measurement, ParameterMaps
from fastqmri.physics.signal import SignalModel
from fastqmri.report.comparison import MethodComparison
from fastqmri.report.consistency import KSpaceConsistency


@dataclass(frozen=True)
class InputRecord:
    """One row of the input table.

    Attributes:
        file: which file it came from, as the user named it.
        role: what it is (``flip angle``, ``mask``, ``B1+ map``).
        value: with its unit.
        source: where the value was read (``sidecar``, ``--fa``, ``file name``).
        guessed: whether nothing stated it.
    """

    file: str
    role: str
    value: str
    source: str
    guessed: bool = False


@dataclass(frozen=True)
class ReportContent:
    """Everything a report is made of.

    Attributes:
        title: of the page.
        maps: the estimate.
        measurement: what was measured.
        model: A, as fitted.
        method: name and description (``nlls: non-linear least squares …``).
        command: that repeats the run.
        inputs: files and values, and where each came from.
        shown: parameters to show, the most important first.
        references: bibliography keys of the model and the method.
        warnings: sentences that the reader must see.
        seconds: run time of the estimate.
        regions: (*voxels) integer labels to summarise by, 0 for none.
        region_names: label -> name.
        procedure: what was done, in place of the sentence that is made up of model and method.
        kspace: what k-space says of the maps, where they were made from it.
        comparison: of a network's maps with classical ones, where a network made them.
    """

    title: str
    maps: ParameterMaps
    measurement: Measurement
    model: SignalModel
    method: str
    command: str
    inputs: tuple[InputRecord, ...]
    shown: tuple[str, ...]
    references: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    seconds: float | None = None
    regions: Tensor | None = None
    region_names: Mapping[int, str] = field(default_factory=dict)
    procedure: str | None = None
    kspace: KSpaceConsistency | None = None
    comparison: MethodComparison | None = None
