"""Schedules by name, from JSON and from Pulseq files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar

from fastqmri.core import AcquisitionError, FileError, Fingerprinting, Schedule
from fastqmri.io.atomic import write_text
from fastqmri.io.pulseq import fingerprinting_of, read_pulseq
from fastqmri.io.sidecars import read_json
from fastqmri.physics.spins import SCHEDULES, schedule

Kind = TypeVar("Kind", bound=Schedule)


def read_schedule(source: str | Path, kind: type[Kind]) -> Kind:
    """A schedule by its published name, or from a file.

    Args:
        source: a name of `fastqmri.physics.spins.SCHEDULES`, or a JSON file whose object has the fields of ``kind``:
            numbers in the package's units, or texts that carry their unit (``"12.5ms"``); or a Pulseq file (.seq),
            where ``kind`` is a whole sequence or a fingerprinting train.
        kind: class of the acquisition.

    Raises:
        FileError: neither a name nor a file; or as `read_pulseq`.
        SidecarError: a file that is no JSON object.
        AcquisitionError: a schedule of another kind; fields missing, unknown or contradicting each other.
        UnitError, PlausibilityError: values no scanner could have been told.
    """
    path = Path(source)
    if str(source) in SCHEDULES:
        found = schedule(str(source))
        if not isinstance(found, kind):
            fitting = [name for name, published in SCHEDULES.items() if isinstance(published.build(), kind)]
            raise AcquisitionError(
                f"schedule {source} is of the kind {type(found).__name__}",
                f"this model needs {kind.__name__}.",
                f"Use one of {', '.join(fitting)}, or a JSON file.",
            )
        return found
    if not path.is_file():
        raise FileError(
            f"schedule {str(source)!r}",
            "it is neither the name of a published schedule nor a file.",
            f"Use one of {', '.join(SCHEDULES)}, or the path of a JSON or Pulseq file.",
        )
    if path.suffix == ".seq":
        return _from_pulseq(path, kind)
    return kind(**read_json(path))


def _from_pulseq(path: Path, kind: type[Kind]) -> Kind:
    sequence = read_pulseq(path)
    found = fingerprinting_of(sequence) if issubclass(kind, Fingerprinting) else sequence
    if not isinstance(found, kind):
        raise AcquisitionError(
            f"{path} for a model that needs {kind.__name__}",
            "Pulseq files are read as whole sequences and as fingerprinting trains.",
            "Write the schedule as JSON: fastqmri schedules NAME --out FILE.json shows how.",
        )
    return found


def write_schedule(path: Path, acquisition: Schedule) -> None:
    """Write a schedule as JSON that `read_schedule` reads back, digit for digit.

    Raises:
        OutputError: as `atomic`.
    """
    content = {name: value for name, value in acquisition.model_dump().items() if value is not None}
    write_text(path, json.dumps(content, indent=1) + "\n")
