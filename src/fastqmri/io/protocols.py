"""What the scanner was told, put together from the sidecars of a scan's images."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastqmri.core import (
    Acquisition,
    AcquisitionError,
    ActualFlipAngle,
    DoubleAngle,
    InversionRecovery,
    MagnetizationTransferRatio,
    MagnetizationTransferSaturation,
    MultiEchoGradientEcho,
    MultiEchoSpinEcho,
    MultiParameterMapping,
    PlausibilityError,
    SidecarError,
    VariableFlipAngle,
)
from fastqmri.core.units import ANGLE, TIME, Dimension, format_quantity
from fastqmri.io.gradients import read_diffusion
from fastqmri.io.names import parse_name
from fastqmri.io.sidecars import Record, Sidecar, SidecarReader

_LONGEST_SPOILED = 2.0
"""Repetition time, in s, beyond which a spoiled gradient echo would carry no T1 weighting at all."""
_ECHO_SPACINGS = (0.0001, 0.01)
"""Between the echoes of a field map, in s, as BIDS has it."""
_FIELD = (0.05, 14.0)
"""Field strengths of scanners in T."""
_KEPT_TEXTS = ("Manufacturer", "ManufacturersModelName", "PulseSequenceType", "ParallelAcquisitionTechnique")
_KEPT_NUMBERS = (
    "MagneticFieldStrength",
    "EchoTime",
    "FlipAngle",
    "RepetitionTime",
    "ParallelReductionFactorInPlane",
    "ParallelReductionFactorOutOfPlane",
    "PartialFourier",
)
"""Fields that the maps' sidecars take over where all images agree."""


@dataclass(frozen=True)
class Protocol:
    """What the sidecars of a scan say.

    Attributes:
        acquisition: in the order of the images.
        records: where every number came from.
        warnings: what was assumed.
        constants: sidecar fields that all images share.
    """

    acquisition: Acquisition
    records: list[Record] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    constants: dict[str, Any] = field(default_factory=dict)


def read_protocol(suffix: str, images: Sequence[Path], reader: SidecarReader) -> Protocol:
    """Read the acquisition of a scan.

    Args:
        suffix: BIDS suffix, one of `READERS` or ``dwi``.
        images: in the order of the contrasts; one file for a 4D stack.
        reader: of the dataset.

    Raises:
        SidecarError: a field is missing or unusable.
        PlausibilityError: a value no scanner could have been told.
        AcquisitionError: values that contradict each other, or too few of them.
        FileError, ShapeError: b-values or b-vectors that are missing or don't fit.
    """
    sidecars = [reader.read(image) for image in images]
    if suffix == "dwi":
        acquisition, records, notes = _diffusion(images[0], reader)
    else:
        acquisition, records, notes = READERS[suffix](sidecars), [], []
    _check_field_strength(sidecars)
    return Protocol(
        acquisition,
        records + [record for sidecar in sidecars for record in sidecar.records],
        notes + [w for sidecar in sidecars for w in sidecar.warnings] + _repeated(acquisition),
        _constants(sidecars),
    )


def _variable_flip_angle(sidecars: Sequence[Sidecar]) -> Acquisition:
    for sidecar in sidecars:
        sequence = sidecar.text("PulseSequenceType") or ""
        if "SSFP" in sequence.upper():
            raise AcquisitionError(
                f"PulseSequenceType = {sequence!r} in {sidecar.sources['PulseSequenceType']}",
                "balanced steady-state images (DESPOT2) follow another equation than spoiled ones (DESPOT1); "
                "they are not supported.",
                "Leave them out, or correct PulseSequenceType if the sequence is spoiled (SPGR).",
            )
    angles = _one_each(sidecars, "FlipAngle")
    name = _repetition_field(sidecars[0])
    repetition = _short(_common(sidecars, name), sidecars[0], name)
    return VariableFlipAngle(flip_angle=angles, repetition_time=repetition)


def _inversion_recovery(sidecars: Sequence[Sidecar]) -> Acquisition:
    times = _one_each(sidecars, "InversionTime")
    name = sidecars[0].first_of("RepetitionTimePreparation", "RepetitionTime", "RepetitionTimeExcitation")
    repetition = None if name is None else _common(sidecars, name)
    if name == "RepetitionTimeExcitation" and repetition is not None and repetition < max(times):
        # the readout's own repetition, not that of the inversions, which nothing states then
        sidecars[0].warnings.append(f"{name} is shorter than an inversion time; it was not used.")
        repetition = None
    return InversionRecovery(inversion_time=times, repetition_time=repetition)


def _spin_echoes(sidecars: Sequence[Sidecar]) -> Acquisition:
    return MultiEchoSpinEcho(echo_time=_one_each(sidecars, "EchoTime"))


def _gradient_echoes(sidecars: Sequence[Sidecar]) -> Acquisition:
    return MultiEchoGradientEcho(echo_time=_one_each(sidecars, "EchoTime"))


def _transfer_ratio(sidecars: Sequence[Sidecar]) -> Acquisition:
    return MagnetizationTransferRatio(mt_state=tuple(_mt_state(sidecar) for sidecar in sidecars))


def _weighted(sidecars: Sequence[Sidecar]) -> Acquisition:
    """Images of several weightings: with several echo times they tell T2* too."""
    fields: dict[str, Any] = {
        "mt_state": tuple(_mt_state(sidecar) for sidecar in sidecars),
        "flip_angle": tuple(sidecar.value("FlipAngle") for sidecar in sidecars),
        "repetition_time": tuple(_repetition(sidecar) for sidecar in sidecars),
    }
    named = [parse_name(sidecar.image) for sidecar in sidecars]
    if any(name is not None and "echo" in name.entities for name in named):
        times = tuple(sidecar.value("EchoTime") for sidecar in sidecars)
        if len(set(times)) > 1:
            return MultiParameterMapping(echo_time=times, **fields)
    return MagnetizationTransferSaturation(**fields)


def _actual_flip_angle(sidecars: Sequence[Sidecar]) -> Acquisition:
    times = tuple(_repetition(sidecar) for sidecar in sidecars)
    angle = _common(sidecars, "FlipAngle", ANGLE)
    if len(times) == 2 and times[0] > times[1]:
        raise AcquisitionError(
            f"repetition times of {format_quantity(times[0], TIME)} in {sidecars[0].image.name} and "
            f"{format_quantity(times[1], TIME)} in {sidecars[1].image.name}",
            "acq-tr1 is the image of the shorter one.",
            "Check the sidecars, or rename the images.",
        )
    return ActualFlipAngle(repetition_time=times, flip_angle=angle)


def _double_angle(sidecars: Sequence[Sidecar]) -> Acquisition:
    return DoubleAngle(flip_angle=_one_each(sidecars, "FlipAngle"))


def _field_map(sidecars: Sequence[Sidecar]) -> Acquisition:
    if len(sidecars) == 1:
        times = (sidecars[0].value("EchoTime1"), sidecars[0].value("EchoTime2"))
    else:
        times = (sidecars[0].value("EchoTime"), sidecars[1].value("EchoTime"))
    low, high = _ECHO_SPACINGS
    if not low <= times[1] - times[0] <= high:
        raise PlausibilityError(
            f"echo times {format_quantity(times[0], TIME)} and {format_quantity(times[1], TIME)} of "
            f"{sidecars[0].image.name}",
            f"the second echo of a field map follows the first within {1000 * low:g} to {1000 * high:g} ms.",
            "Check their order and their unit: BIDS wants seconds.",
        )
    return MultiEchoGradientEcho(echo_time=times)


READERS: dict[str, Callable[[Sequence[Sidecar]], Acquisition]] = {
    "VFA": _variable_flip_angle,
    "IRT1": _inversion_recovery,
    "MESE": _spin_echoes,
    "MEGRE": _gradient_echoes,
    "MTR": _transfer_ratio,
    "MTS": _weighted,
    "MPM": _weighted,
    "TB1AFI": _actual_flip_angle,
    "TB1DAM": _double_angle,
    "phasediff": _field_map,
}


def _mt_state(sidecar: Sidecar) -> bool:
    """Whether the MT pulse was on: the sidecar says so, and the file's name must not say otherwise.

    Raises:
        SidecarError: nothing says so, or the two contradict each other.
    """
    name = parse_name(sidecar.image)
    named = None if name is None else {"on": True, "off": False}.get(str(name.entities.get("mt")))
    if "MTState" not in sidecar and named is not None:
        sidecar.warnings.append(f"{sidecar.image.name} has no MTState; its name was taken to say it.")
        return named
    state = sidecar.state("MTState")
    if named is not None and state != named:
        raise SidecarError(
            f"MTState = {str(state).lower()} in {sidecar.sources['MTState']}",
            f"the name of {sidecar.image.name} says the opposite.",
            "Correct the one that is wrong.",
        )
    return state


def _repetition_field(sidecar: Sidecar) -> str:
    name = sidecar.first_of("RepetitionTimeExcitation", "RepetitionTime")
    if name is None:
        raise sidecar.missing("RepetitionTimeExcitation", "<value in s>")
    return name


def _repetition(sidecar: Sidecar) -> float:
    """Time between the excitations of a gradient echo."""
    name = _repetition_field(sidecar)
    return _short(sidecar.value(name), sidecar, name)


def _short(repetition: float, sidecar: Sidecar, name: str) -> float:
    """The repetition time, if a spoiled gradient echo can have it.

    Raises:
        PlausibilityError: it is one of another sequence, or in milliseconds.
    """
    if repetition > _LONGEST_SPOILED:
        raise PlausibilityError(
            f"{name} = {repetition:g} in {sidecar.sources[name]}",
            "spoiled gradient echoes repeat within milliseconds; it reads like ms where s belongs.",
            f"Correct it: BIDS wants {name} in s.",
        )
    return repetition


def _diffusion(image: Path, reader: SidecarReader) -> tuple[Acquisition, list[Record], list[str]]:
    tables = {end: next(reversed(list(reader.applicable(image, end))), None) for end in (".bval", ".bvec")}
    bval, bvec = tables[".bval"], tables[".bvec"]
    if bval is None:
        raise SidecarError(
            f"{image}: no .bval file beside it or above",
            "without b-values nothing can be estimated.",
            f"Put {image.name.partition('.')[0]}.bval beside it, one row of b-values in s/mm2.",
        )
    acquisition, notes = read_diffusion(image, bval, bvec)
    if bvec is None:
        notes.append(f"{image.name} has no .bvec file: only models without directions can be fitted.")
    shells = sorted({round(b, -1) for b in acquisition.b_value})
    value = ", ".join(f"{b:g}" for b in shells) + f" s/mm2 in {acquisition.contrasts} volumes"
    where = [str(path.relative_to(reader.root)) for path in (image, bval)]
    return acquisition, [Record(where[0], "b-value", value, where[1])], notes


def _one_each(sidecars: Sequence[Sidecar], name: str) -> tuple[float, ...]:
    """One value an image, or the list that goes with a 4D stack."""
    if len(sidecars) == 1:
        return sidecars[0].series(name)
    return tuple(sidecar.value(name) for sidecar in sidecars)


def _common(sidecars: Sequence[Sidecar], name: str, dimension: Dimension = TIME) -> float:
    """A value that all images share."""
    values = [sidecar.value(name) for sidecar in sidecars]
    for sidecar, value in zip(sidecars, values, strict=True):
        if not math.isclose(value, values[0], rel_tol=1e-4):
            raise AcquisitionError(
                f"{name} = {format_quantity(values[0], dimension)} for {sidecars[0].image.name}, "
                f"{format_quantity(value, dimension)} for {sidecar.image.name}",
                f"the model holds for one {name}.",
                "Check that the images belong together, or correct the sidecar that is wrong.",
            )
    return values[0]


def _check_field_strength(sidecars: Sequence[Sidecar]) -> None:
    name = "MagneticFieldStrength"
    for sidecar in sidecars:
        value = _number(sidecar.fields.get(name))
        if value is not None and not _FIELD[0] <= value <= _FIELD[1]:
            raise PlausibilityError(
                f"{name} = {value:g} in {sidecar.sources[name]}",
                f"scanners have {_FIELD[0]:g} to {_FIELD[1]:g} T.",
                f"Correct it: BIDS wants {name} in T.",
            )


def _repeated(acquisition: Acquisition) -> list[str]:
    """A warning if two images have the same value (which averages are meant to have in diffusion)."""
    values = getattr(acquisition, acquisition.varies)
    if acquisition.varies == "b_value" or not acquisition.continuous or len(set(values)) == len(values):
        return []
    return [
        f"{len(values)} images share {len(set(values))} values of {acquisition.varies.replace('_', ' ')}."
    ]


def _constants(sidecars: Sequence[Sidecar]) -> dict[str, Any]:
    constants: dict[str, Any] = {}
    for name in (*_KEPT_TEXTS, *_KEPT_NUMBERS):
        values = [sidecar.fields.get(name) for sidecar in sidecars]
        value = _number(values[0]) if name in _KEPT_NUMBERS else values[0]
        if value is not None and all(other == values[0] for other in values):
            constants[name] = value
    return constants


def _number(value: Any) -> float | None:
    """A JSON number, also one written as text; None for anything else."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and not isinstance(value, bool) else None
