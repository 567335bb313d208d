"""Parameter maps as files: which there are, what they are called, what their sidecars say."""

from __future__ import annotations

import math
from collections.abc import Collection as AnyOf
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fastqmri.core import (
    Acquisition,
    ActualFlipAngle,
    DiffusionWeighted,
    DoubleAngle,
    Flag,
    InversionRecovery,
    LookLocker,
    MagnetizationTransferRatio,
    MagnetizationTransferSaturation,
    MultiEchoGradientEcho,
    MultiEchoSpinEcho,
    MultiParameterMapping,
    OutputError,
    ParameterMap,
    ParameterMaps,
    VariableFlipAngle,
)
from fastqmri.io.nifti import write_image

FILE_NAMES = {
    **{name: f"{name}map" for name in ("T1", "T2", "T2star", "R1", "R2", "R2star", "M0", "S0", "PD", "MTR")},
    "B0": "fieldmap",
    "Chi": "Chimap",
    "B1": "TB1map",
    "MWF": "MWFmap",
}
"""Parameter name -> name of its map; every other parameter's map is called like the parameter."""

# Acquisition field -> sidecar field and the factor to BIDS's unit. BIDS has no lists of inversion times, of
# repetition times and of MT states, and no b-values in sidecars: InversionTimes, RepetitionTimes, MTStates and
# BValue are ours.
_WEIGHTED = {
    "mt_state": ("MTStates", 1.0),
    "flip_angle": ("FlipAngle", 180 / math.pi),
    "repetition_time": ("RepetitionTimes", 1.0),
}
_BIDS_FIELDS: dict[type[Acquisition], dict[str, tuple[str, float]]] = {
    VariableFlipAngle: {
        "flip_angle": ("FlipAngle", 180 / math.pi),
        "repetition_time": ("RepetitionTimeExcitation", 1.0),
    },
    InversionRecovery: {
        "inversion_time": ("InversionTimes", 1.0),
        "repetition_time": ("RepetitionTimePreparation", 1.0),
    },
    LookLocker: {"inversion_time": ("InversionTimes", 1.0)},
    MultiEchoSpinEcho: {"echo_time": ("EchoTime", 1.0)},
    MultiEchoGradientEcho: {"echo_time": ("EchoTime", 1.0)},
    DiffusionWeighted: {"b_value": ("BValue", 1.0)},
    MagnetizationTransferRatio: {"mt_state": ("MTStates", 1.0)},
    MagnetizationTransferSaturation: _WEIGHTED,
    MultiParameterMapping: {"echo_time": ("EchoTime", 1.0), **_WEIGHTED},
    ActualFlipAngle: {
        "repetition_time": ("RepetitionTimes", 1.0),
        "flip_angle": ("FlipAngle", 180 / math.pi),
    },
    DoubleAngle: {"flip_angle": ("FlipAngle", 180 / math.pi)},
}


@dataclass(frozen=True)
class Estimation:
    """How maps were made, for their sidecars.

    Attributes:
        label: short name of letters and digits, for ``desc-<label>`` ("nlls").
        algorithm: in words.
        reference: publication or DOI; empty where there is none.
        skull_stripped: whether voxels outside the brain were left out.
        details: further sidecar fields, as JSON holds them.

    Raises:
        OutputError: a label that BIDS does not allow.
    """

    label: str
    algorithm: str
    reference: str = ""
    skull_stripped: bool = False
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (self.label.isascii() and self.label.isalnum()):
            raise OutputError(
                f"label {self.label!r}",
                "BIDS allows only letters and digits in a file name's labels.",
                "Shorten it to letters and digits.",
            )


@dataclass(frozen=True)
class Product:
    """An image and its sidecar, about to be written.

    Attributes:
        map: name of the map it belongs to ("T1map"), or "flags", "residual" or "mask".
        role: empty for the map itself, "sd" for its standard deviation.
        data: (x, y, z).
        quantity: for the image's header ("T1").
        sidecar: the JSON content.
    """

    map: str
    role: str
    data: Tensor
    quantity: str
    sidecar: dict[str, Any]

    def write(self, path: Path, affine: Tensor | None) -> None:
        """Write the image; errors as `atomic`."""
        write_image(
            path,
            self.data,
            affine,
            name=self.quantity,
            unit=self.sidecar["Units"],
            description=self.sidecar["Description"],
        )


def products(
    maps: ParameterMaps,
    estimation: Estimation,
    *,
    acquisition: Acquisition | None,
    sources: Sequence[str],
    names: AnyOf[str] | None = None,
    extra: Mapping[str, Any] | None = None,
    mask: Tensor | None = None,
) -> Iterator[Product]:
    """Every image to write for an estimate: maps, their standard deviations, flags, residual, mask.

    Args:
        maps: the estimate.
        estimation: how it was made.
        acquisition: what the scanner was told.
        sources: the images it was made from, as the sidecars name them.
        names: parameters to write; None writes all.
        extra: further fields for every sidecar.
        mask: (*voxels) bool, written too if given.
    """
    common = {
        "SkullStripped": estimation.skull_stripped,
        "Sources": list(sources),
        "EstimationAlgorithm": estimation.algorithm,
        **({"EstimationReference": estimation.reference} if estimation.reference else {}),
        **acquisition_fields(acquisition),
        **(extra or {}),
        **estimation.details,
    }
    for entry in maps:
        if names is None or entry.parameter.name in names:
            yield from _parameter_products(entry, common)
    yield _flag_product(maps, common)
    if maps.residual is not None:
        yield _residual_product(maps, common)
    if mask is not None:
        sidecar = {"Description": "Voxels that were looked at", "Type": "ROI", "Sources": common["Sources"]}
        yield Product("mask", "", mask.to(torch.uint8), "mask", {"Units": "arbitrary", **sidecar})


def acquisition_fields(acquisition: Acquisition | None) -> dict[str, Any]:
    """An acquisition as BIDS sidecar fields in BIDS's units, what varies as a list."""
    if acquisition is None:
        return {}
    fields: dict[str, Any] = {}
    for name, (field_name, factor) in _BIDS_FIELDS.get(type(acquisition), {}).items():
        value = getattr(acquisition, name)
        if isinstance(value, tuple):
            fields[field_name] = [v if isinstance(v, bool) else _rounded(v * factor) for v in value]
        elif value is not None:
            fields[field_name] = _rounded(value * factor)
    return fields


def _parameter_products(entry: ParameterMap, common: Mapping[str, Any]) -> Iterator[Product]:
    parameter = entry.parameter
    name = FILE_NAMES.get(parameter.name, parameter.name)
    description = f"{parameter.name}: {parameter.description}; 0 where invalid"
    sidecar = {"Description": description, "Units": parameter.unit, **common}
    yield Product(name, "", entry.value, parameter.name, sidecar)
    if not bool(torch.isfinite(entry.standard_deviation).any()):
        return
    uncertainty = {
        **sidecar,
        "Description": f"Standard deviation of {parameter.name}: {parameter.description}; 0 where unknown",
        "UncertaintyType": "standard deviation",
    }
    yield Product(name, "sd", entry.standard_deviation, f"SD {parameter.name}", uncertainty)


def _flag_product(maps: ParameterMaps, common: Mapping[str, Any]) -> Product:
    sidecar = {
        "Description": "Why a voxel's numbers should not be taken at face value: a bit field, 0 for nothing",
        "Units": "arbitrary",
        "FlagBits": {str(int(flag)): f"{flag.name}: {flag.description}" for flag in Flag if flag},
        "FlagCounts": {str(flag.name): count for flag, count in maps.flag_counts().items()},
        **common,
    }
    return Product("flags", "", maps.flags, "flags", sidecar)


def _residual_product(maps: ParameterMaps, common: Mapping[str, Any]) -> Product:
    assert maps.residual is not None
    sidecar = {
        "Description": "Root mean square difference of measured and re-synthesised signal; 0 where invalid",
        "Units": "arbitrary",
        **common,
    }
    return Product("residual", "", maps.residual, "residual", sidecar)


def _rounded(value: float) -> float:
    """Without the last digits, that a change of unit leaves behind."""
    return float(f"{value:.12g}")
