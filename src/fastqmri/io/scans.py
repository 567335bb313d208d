"""Images of a scan as a BIDS dataset: names and sidecars from the acquisition."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from fastqmri.core import (
    Acquisition,
    ActualFlipAngle,
    DoubleAngle,
    InversionRecovery,
    MagnetizationTransferRatio,
    MagnetizationTransferSaturation,
    Measurement,
    MultiEchoGradientEcho,
    MultiEchoSpinEcho,
    MultiParameterMapping,
    UnknownNameError,
    VariableFlipAngle,
)
from fastqmri.io.atomic import write_json, write_text
from fastqmri.io.nifti import write_image

# indices have two digits, so that file names sort as the images were taken
_Names = Iterator[tuple[str, dict[str, Any]]]


def begin_dataset(root: Path, *, name: str, readme: str) -> None:
    """Write what every BIDS dataset has.

    Args:
        root: folder of the dataset.
        name: of the dataset.
        readme: what is in it, a few sentences.

    Raises:
        OutputError: as `atomic`.
    """
    description = {"Name": name, "BIDSVersion": "1.10.0", "DatasetType": "raw", "License": "CC0"}
    write_json(root / "dataset_description.json", {**description, "Authors": ["fastqmri"]})
    write_text(root / "README.md", readme)


def write_scan(root: Path, subject: str, measurement: Measurement, sidecar: Mapping[str, Any]) -> list[Path]:
    """Write images, and the B1+ map if it is known, into a BIDS dataset.

    Args:
        root: folder of the dataset.
        subject: label, letters and digits.
        measurement: images; complex ones become magnitude and phase.
        sidecar: fields that all images share (``MagneticFieldStrength``).

    Returns:
        The images (magnitudes), in the order of the contrasts.

    Raises:
        UnknownNameError: an acquisition that this package has no BIDS names for.
        OutputError: as `atomic`.
    """
    acquisition = measurement.acquisition
    found = _NAMES.get(type(acquisition))
    if found is None:
        raise UnknownNameError(
            f"{type(acquisition).__name__} as BIDS",
            f"names are known for {', '.join(kind.__name__ for kind in _NAMES)}.",
            "Write plain NIfTI files.",
        )
    folder, suffix, names = found
    begin = root / f"sub-{subject}" / folder
    paths = []
    for image, (entities, fields) in zip(measurement.data, names(acquisition), strict=True):
        content = {**sidecar, **fields}
        if not image.is_complex():
            paths.append(
                _write(begin, f"sub-{subject}_{entities}_{suffix}", image, "arbitrary", measurement, content)
            )
            continue
        for part, data, unit in (("mag", image.abs(), "arbitrary"), ("phase", image.angle(), "rad")):
            stem = f"sub-{subject}_{entities}_part-{part}_{suffix}"
            own = {**content, "Units": unit} if part == "phase" else content
            path = _write(begin, stem, data, unit, measurement, own)
            if part == "mag":
                paths.append(path)
    if "B1" in measurement.known:
        stem, own = f"sub-{subject}_TB1map", {**sidecar, "Units": "arbitrary"}
        _write(root / f"sub-{subject}" / "fmap", stem, measurement.known["B1"], "fraction", measurement, own)
    return paths


def _write(
    folder: Path, stem: str, data: Tensor, unit: str, measurement: Measurement, sidecar: Mapping[str, Any]
) -> Path:
    path = folder / f"{stem}.nii.gz"
    write_image(path, data, measurement.affine, name=stem.rpartition("_")[2], unit=unit)
    write_json(folder / f"{stem}.json", sidecar)
    return path


def _degrees(angle: float) -> float:
    return round(math.degrees(angle), 9)


def _flip_angles(acquisition: VariableFlipAngle) -> _Names:
    for i, angle in enumerate(acquisition.flip_angle, 1):
        fields = {"FlipAngle": _degrees(angle), "RepetitionTimeExcitation": acquisition.repetition_time}
        yield f"flip-{i:02d}", {**fields, "PulseSequenceType": "SPGR"}


def _inversions(acquisition: InversionRecovery) -> _Names:
    between = acquisition.repetition_time
    for i, time in enumerate(acquisition.inversion_time, 1):
        yield (
            f"inv-{i}",
            {"InversionTime": time} | ({"RepetitionTimePreparation": between} if between else {}),
        )


def _echoes(acquisition: MultiEchoSpinEcho | MultiEchoGradientEcho) -> _Names:
    for i, time in enumerate(acquisition.echo_time, 1):
        yield f"echo-{i:02d}", {"EchoTime": round(time, 9)}


def _states(acquisition: MagnetizationTransferRatio) -> _Names:
    for on in acquisition.mt_state:
        yield f"mt-{'on' if on else 'off'}", {"MTState": on}


def _weighted(acquisition: MagnetizationTransferSaturation | MultiParameterMapping) -> _Names:
    angles = list(dict.fromkeys(acquisition.flip_angle))
    echoes = getattr(acquisition, "echo_time", None)
    count: dict[tuple[bool, float], int] = {}
    rows = zip(acquisition.mt_state, acquisition.flip_angle, acquisition.repetition_time, strict=True)
    for i, (on, angle, repetition) in enumerate(rows):
        fields = {"MTState": on, "FlipAngle": _degrees(angle), "RepetitionTimeExcitation": repetition}
        entities = f"flip-{angles.index(angle) + 1}_mt-{'on' if on else 'off'}"
        if echoes is None:
            yield entities, fields
            continue
        echo = count[on, angle] = count.get((on, angle), 0) + 1
        weighting = "MTw" if on else "PDw" if angle == min(angles) else "T1w"
        yield f"acq-{weighting}_echo-{echo}_{entities}", {"EchoTime": round(echoes[i], 9), **fields}


def _repetitions(acquisition: ActualFlipAngle) -> _Names:
    for i, time in enumerate(acquisition.repetition_time, 1):
        yield f"acq-tr{i}", {"RepetitionTimeExcitation": time, "FlipAngle": _degrees(acquisition.flip_angle)}


def _double_angles(acquisition: DoubleAngle) -> _Names:
    for i, angle in enumerate(acquisition.flip_angle, 1):
        yield f"flip-{i}", {"FlipAngle": _degrees(angle)}


_NAMES: Mapping[type[Acquisition], tuple[str, str, Callable[[Any], _Names]]] = {
    VariableFlipAngle: ("anat", "VFA", _flip_angles),
    InversionRecovery: ("anat", "IRT1", _inversions),
    MultiEchoSpinEcho: ("anat", "MESE", _echoes),
    MultiEchoGradientEcho: ("anat", "MEGRE", _echoes),
    MagnetizationTransferRatio: ("anat", "MTR", _states),
    MagnetizationTransferSaturation: ("anat", "MTS", _weighted),
    MultiParameterMapping: ("anat", "MPM", _weighted),
    ActualFlipAngle: ("fmap", "TB1AFI", _repetitions),
    DoubleAngle: ("fmap", "TB1DAM", _double_angles),
}
"""Acquisition -> folder, suffix, and entities with sidecar fields of every contrast."""
