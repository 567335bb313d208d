"""What an entry of the catalogue is: a mapping from contrasts to parameters, and the ways to do it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from fastqmri.core import Acquisition, Measurement, UnknownNameError
from fastqmri.core.units import Dimension
from fastqmri.estimators.least_squares import solve_fast
from fastqmri.estimators.matching import Matching
from fastqmri.estimators.voxelwise import CHUNK, Finish, Voxelwise
from fastqmri.physics.signal import SignalModel


@dataclass(frozen=True)
class Method:
    """One way to invert a model.

    Attributes:
        name: for ``--method``.
        description: one line.
        solve: the batch solver.
        references: bibliography keys.
        finish: what is done to the maps at the end, where voxels depend on their neighbours.
    """

    name: str
    description: str
    solve: Callable[..., Any]
    references: tuple[str, ...] = ()
    finish: Finish | None = None


@dataclass(frozen=True)
class Setting:
    """A number that a model wants to be told besides its acquisition.

    Attributes:
        dimension: of the number.
        default: in the dimension's unit.
        description: a line for people.
    """

    dimension: Dimension
    default: float
    description: str

    def write(self, value: float) -> str:
        """The number with its unit, as it is given on the command line."""
        return f"{value:.9g}{self.dimension.unit}"


@dataclass(frozen=True)
class Entry:
    """A mapping from contrasts to parameters.

    Attributes:
        name: on the command line; the lower-case BIDS suffix where one exists.
        suffix: BIDS suffix of its images, or None.
        acquisition: class of its acquisition.
        build: makes the model from the acquisition and the options.
        options: names and choices of the model's own options.
        methods: the first is the default.
        outputs: parameters to write and show, the most important first.
        example: the options of an example that follow ``fastqmri fit NAME``.
        option_help: a line for people on an option of the model.
        needs_phase: whether the images must be complex.
        settings: names of the model's own numbers.
    """

    name: str
    suffix: str | None
    acquisition: type[Acquisition]
    build: Callable[..., SignalModel]
    methods: tuple[Method, ...]
    outputs: tuple[str, ...]
    example: str
    options: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    option_help: Mapping[str, str] = field(default_factory=dict)
    needs_phase: bool = False
    settings: Mapping[str, Setting] = field(default_factory=dict)

    def method(self, name: str = "auto") -> Method:
        """Look a method up; ``auto`` is the default.

        Raises:
            UnknownNameError: no such method for this model.
        """
        if name == "auto":
            return self.methods[0]
        for method in self.methods:
            if method.name == name:
                return method
        raise UnknownNameError(
            f"method {name!r} for {self.name}",
            "this model has no such method.",
            f"Use auto or one of {', '.join(m.name for m in self.methods)}.",
        )

    def estimator(
        self,
        model: SignalModel,
        method: str = "auto",
        *,
        noise: str = "gaussian",
        chunk: int = CHUNK,
        progress: Callable[[int, int], None] | None = None,
    ) -> Voxelwise:
        """An estimator of this entry's parameters."""
        chosen = self.method(method)
        return Voxelwise(
            model,
            chosen.solve,
            chosen.name,
            noise=noise,
            chunk=chunk,
            progress=progress,
            finish=chosen.finish,
        )

    def options_for(self, measurement: Measurement) -> dict[str, Any]:
        """Options that the data themselves decide: what kind of signal inversion-recovery images hold."""
        if "signal" not in self.options:
            return {}
        return {"signal": _kind_of(measurement.data, self.options["signal"])}


def _kind_of(data: Tensor, allowed: tuple[Any, ...]) -> str:
    if data.is_complex() and "complex" in allowed:
        return "complex"
    negative = float((data.real < 0).float().mean())
    return "real" if negative > 0.001 else "magnitude"


NLLS = Method(
    "nlls",
    "non-linear least squares inside bounds (variable projection or Levenberg-Marquardt), "
    "standard deviations from the Jacobian",
    solve_fast,
    ("marquardt1963", "golub1973"),
)
MATCHING = (
    Method(
        "matching",
        "best atom of a dictionary, exactly, by a tree on the compressed dictionary",
        Matching("exact"),
        ("ma2013", "mcgivney2014"),
    ),
    Method("matching-full", "best atom of a dictionary, all compared", Matching("full"), ("ma2013",)),
    Method(
        "matching-svd",
        "best atom of a dictionary, all compared in its first singular vectors (approximate)",
        Matching("compressed"),
        ("ma2013", "mcgivney2014"),
    ),
    Method(
        "matching-group",
        "best atom in the most similar groups of a compressed dictionary (approximate)",
        Matching("grouped"),
        ("ma2013", "cauley2015"),
    ),
    Method(
        "matching-refined",
        "best atom of a dictionary, then a few least-squares steps off its grid",
        Matching("exact", refine=True),
        ("ma2013", "marquardt1963"),
    ),
)
