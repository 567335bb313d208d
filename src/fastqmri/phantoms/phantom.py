"""An object with known truth: maps of tissue properties that any signal model can be evaluated on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from fastqmri.core import ShapeError, UnknownNameError
from fastqmri.core.units import GYROMAGNETIC_RATIO
from fastqmri.physics.signal import SignalModel

AMPLITUDES = ("M0", "S0", "PD")
"""Names of the parameter that a signal is proportional to."""
_ASSUMED = {
    "inversion_factor": 2.0,
    "inversion_efficiency": 1.0,
    "phase": 0.0,
    "offset": 0.0,
    "B0": 0.0,
    "dB0": 0.0,
}


@dataclass(frozen=True)
class Phantom:
    """An object and all that is known of it.

    Attributes:
        maps: property -> (*voxels) float64, SI units (``M0``, ``T1``, ``T2``, ``T2star``, ``B1`` as a fraction, ``B0``
            in Hz …); zero outside the mask, but for fields (``B0``, ``B1``). Where tissues share a voxel, their means,
            weighted by what each contributes to M0.
        mask: (*voxels) bool.
        labels: (*voxels) int16, number of the tissue that fills most of the voxel, 0 outside.
        names: of the tissues, ``names[0]`` is what lies outside.
        voxel_size: mm, one for each voxel axis.
        affine: (4, 4) voxel to world in mm.
        drawn: what was drawn at random, with its ranges and values: enough to tell how two phantoms differ.
        fractions: (tissue, *voxels) float32, how much of a voxel each of ``names[1:]`` fills; None where each voxel
            has one tissue only.
        values: property -> (tissue,) nominal value of each of ``names[1:]``, of those properties that tissues have.

    Raises:
        ShapeError: maps of different voxels.
    """

    maps: Mapping[str, Tensor]
    mask: Tensor
    labels: Tensor
    names: tuple[str, ...]
    voxel_size: tuple[float, ...]
    affine: Tensor
    drawn: Mapping[str, Any] = field(default_factory=dict)
    fractions: Tensor | None = None
    values: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value in {**self.maps, "labels": self.labels}.items():
            if value.shape != self.mask.shape:
                raise ShapeError(
                    f"{name} of {tuple(value.shape)} for a mask of {tuple(self.mask.shape)}",
                    "all maps of a phantom lie on the same voxels.",
                    "Resample it first.",
                )

    @property
    def voxels(self) -> tuple[int, ...]:
        """Shape of the voxel axes."""
        return tuple(self.mask.shape)

    @property
    def pure(self) -> Tensor:
        """(*voxels) bool: inside, and of one tissue only, where the maps are the truth of any model."""
        return self.mask if self.fractions is None else self.mask & (self.fractions.amax(0) > 0.999)

    def parameters(self, model: SignalModel) -> Tensor:
        """x (parameter, *voxels) float64 of a model: amplitudes are zero outside the mask, all else stays plausible.

        Parameters that are normally measured elsewhere take the phantom's map, or their nominal value.

        Raises:
            UnknownNameError: the model has a parameter that the phantom doesn't.
        """
        return parameters_of(model, self.maps, self.mask)

    def known(self, model: SignalModel) -> dict[str, Tensor]:
        """Maps of the model's parameters that are measured elsewhere, as a measurement of this object holds them."""
        x = self.parameters(model)
        return {p.name: x[i].float() for i, p in enumerate(model.parameters) if p.nominal is not None}

    def signal(self, model: SignalModel) -> Tensor:
        """Noiseless images (contrast, *voxels), float64 or complex128; tissues in one voxel add their signals.

        Raises:
            UnknownNameError: the model has a parameter that the phantom doesn't.
        """
        if self.fractions is None:
            signal = model.forward(self.parameters(model))
            return signal * self.mask
        means = tissue_means(self.fractions, self.values)
        total: Tensor | None = None
        for tissue, fraction in enumerate(self.fractions):
            here = self.mask & (fraction > 0)
            maps = {name: value[here] for name, value in self.maps.items()}
            for name, value in self.values.items():
                mean = means[name][here]
                maps[name] = torch.where(mean == 0, value[tissue], maps[name] * value[tissue] / mean)
            maps["M0"] = maps["M0"] * fraction[here]
            part = model.forward(parameters_of(model, maps, torch.ones_like(here[here])))
            if total is None:
                total = torch.zeros(len(part), *self.voxels, dtype=part.dtype)
            total[:, here] += part
        assert total is not None
        return total


def parameters_of(model: SignalModel, maps: Mapping[str, Tensor], mask: Tensor) -> Tensor:
    """x (parameter, *voxels) of a model from maps of tissue, as `Phantom.parameters` has it.

    Args:
        model: whose parameters.
        maps: property -> (*voxels), of one precision; the voxels of several objects may be stacked.
        mask: (*voxels) bool, the object.

    Raises:
        UnknownNameError: the model has a parameter that the maps don't tell.
    """
    rows = []
    inside = mask.sum().clamp_min(1)
    for parameter in model.parameters:
        value = _value(parameter.name, maps, model)
        if value is None and parameter.nominal is not None:
            value = torch.full_like(maps["M0"], parameter.nominal)
        if value is None:
            raise UnknownNameError(
                f"parameter {parameter.name} of {type(model).__name__}",
                f"this phantom has {', '.join(maps)} only.",
                "Choose another model, or give the phantom this property.",
            )
        if parameter.name in AMPLITUDES:
            rows.append(value * mask)
        else:
            rows.append(torch.where(mask, value, (value * mask).sum() / inside))
    return torch.stack(rows)


def tissue_means(fractions: Tensor, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Property -> (*voxels), means over the tissues of each voxel; all but M0 weighted with M0, 0 where none is.

    Args:
        fractions: (tissue, *voxels).
        values: property -> (tissue,), among them M0.
    """
    density = torch.einsum("t...,t->...", fractions.double(), values["M0"])
    safe = torch.where(density > 0, density, 1.0)
    return {
        name: density
        if name == "M0"
        else torch.einsum("t...,t->...", fractions.double(), value * values["M0"]) / safe
        for name, value in values.items()
    }


def _value(name: str, maps: Mapping[str, Tensor], model: SignalModel) -> Tensor | None:
    """Map of a parameter, straight or by way of another one; None where the phantom can't tell."""
    if name in maps:
        return maps[name]
    if name in AMPLITUDES:
        return maps["M0"]
    if name == "T2f" and "R2f" in maps:
        return 1 / maps["R2f"].clamp_min(1e-9)
    if name == "kr" and "kf" in maps:
        return torch.where(maps["F"] > 0, maps["kf"] / maps["F"].clamp_min(1e-12), 0.0)
    if name == "T2f" and "T2" in maps:
        return maps["T2"]
    if name == "R1" and "T1" in maps:
        return 1 / maps["T1"].clamp_min(1e-9)
    strength = getattr(model.acquisition, "field_strength", None)
    if name == "dB0" and "B0" in maps and strength:
        return maps["B0"] / (GYROMAGNETIC_RATIO * strength * 1e-6)
    if name in _ASSUMED:
        return torch.full_like(maps["M0"], _ASSUMED[name])
    return None
