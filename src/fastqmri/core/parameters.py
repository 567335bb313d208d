"""Tissue parameters (x of the equation), their maps, and what is wrong with a voxel."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from fastqmri.core.errors import ShapeError, UnknownNameError


class Flag(enum.IntFlag):
    """Why a voxel's numbers should not be taken at face value; several may hold at once."""

    OK = 0
    AT_BOUND = 1
    LOW_SNR = 2
    NOT_CONVERGED = 4
    MODEL_MISFIT = 8
    OUTSIDE_TRAINING_RANGE = 16
    INVALID_INPUT = 32
    SATURATED = 64
    MASKED = 128

    @property
    def description(self) -> str:
        """One sentence for people."""
        return _FLAG_TEXT[self]


_FLAG_TEXT = {
    Flag.OK: "Nothing speaks against the estimate.",
    Flag.AT_BOUND: "A parameter stopped at a limit of its allowed range.",
    Flag.LOW_SNR: "The signal is too close to the noise, or the standard deviation exceeds the value.",
    Flag.NOT_CONVERGED: "The fit did not settle.",
    Flag.MODEL_MISFIT: "The measured signal differs from the fitted curve by more than noise explains.",
    Flag.OUTSIDE_TRAINING_RANGE: "The network was not trained for such tissue.",
    Flag.INVALID_INPUT: "NaN, infinite, non-positive or constant samples left nothing to estimate from, "
    "or were excluded.",
    Flag.SATURATED: "Clipped samples were excluded from the fit.",
    Flag.MASKED: "Outside the mask: not estimated.",
}

NOT_ESTIMATED = Flag.MASKED | Flag.INVALID_INPUT


@dataclass(frozen=True)
class Parameter:
    """One tissue parameter, as data.

    Attributes:
        name: short name, BIDS's where it has one (``T1``, ``T2star``).
        unit: as BIDS spells it (``s``, ``1/s``, ``mm2/s``, ``arbitrary``).
        bounds: hard limits of a fit.
        prior: range that training, dictionaries and phantoms draw from.
        description: one line for people.
        nominal: the value of a quantity that is normally measured elsewhere (B1+); such a parameter is
            held at its map, or at this value when no map is given, instead of being estimated.
    """

    name: str
    unit: str
    bounds: tuple[float, float]
    prior: tuple[float, float]
    description: str
    nominal: float | None = None


@dataclass(frozen=True)
class ParameterMap:
    """One parameter with its standard deviation.

    Attributes:
        parameter: what it is, with its unit.
        value: (*voxels).
        standard_deviation: (*voxels), same unit; NaN where unknown.
    """

    parameter: Parameter
    value: Tensor
    standard_deviation: Tensor


@dataclass(frozen=True)
class ParameterMaps:
    """What an `Estimator` returns: values, standard deviations and flags of every voxel.

    Attributes:
        parameters: one per row of ``value``.
        value: (parameter, *voxels); NaN where nothing could be estimated.
        standard_deviation: (parameter, *voxels), same units; NaN where unknown.
        flags: (*voxels), uint8 bit field of `Flag`.
        affine: (4, 4) voxel to world in mm, or None.
        residual: (*voxels) root mean square misfit of the re-synthesised signal, in signal units, or None.
        noise: standard deviation of the noise that the standard deviations rest on, scalar or (*voxels),
            or None.
        quantiles: level -> (parameter, *voxels), for estimators that know more than a standard deviation.
        notes: what the estimator wants the user to know (assumptions made, samples left out).
    """

    parameters: tuple[Parameter, ...]
    value: Tensor
    standard_deviation: Tensor
    flags: Tensor
    affine: Tensor | None = None
    residual: Tensor | None = None
    noise: Tensor | None = None
    quantiles: dict[float, Tensor] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        expected = (len(self.parameters), *self.flags.shape)
        for name in ("value", "standard_deviation"):
            shape = tuple(getattr(self, name).shape)
            if shape != expected:
                raise ShapeError(
                    f"ParameterMaps.{name} has shape {shape}",
                    f"{len(self.parameters)} parameters on voxels {tuple(self.flags.shape)} need {expected}.",
                    "Put the parameter axis first and the voxel axes last.",
                )
        if self.flags.dtype != torch.uint8:
            raise ShapeError(
                f"ParameterMaps.flags has dtype {self.flags.dtype}",
                "flags are a bit field.",
                "Use torch.uint8.",
            )

    @classmethod
    def stacked(cls, slices: Sequence[ParameterMaps], affine: Tensor | None = None) -> ParameterMaps:
        """Maps of the slices of a volume as one, their voxels (*in plane) becoming (*in plane, slice).

        Args:
            slices: of one estimator, so that all hold the same parameters.
            affine: of the volume.
        """
        first = slices[0]
        shape = first.flags.shape

        def joined(parts: Sequence[Tensor | None]) -> Tensor | None:
            present = [part for part in parts if part is not None]
            return None if len(present) < len(slices) else torch.stack(present, -1)

        noise = joined([None if m.noise is None else m.noise.expand(shape) for m in slices])
        return cls(
            parameters=first.parameters,
            value=torch.stack([m.value for m in slices], -1),
            standard_deviation=torch.stack([m.standard_deviation for m in slices], -1),
            flags=torch.stack([m.flags for m in slices], -1),
            affine=affine,
            residual=joined([m.residual for m in slices]),
            noise=noise,
            quantiles={
                level: torch.stack([m.quantiles[level] for m in slices], -1) for level in first.quantiles
            },
            notes=_pooled_notes([m.notes for m in slices]),
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Parameter names in order."""
        return tuple(p.name for p in self.parameters)

    def __getitem__(self, name: str) -> ParameterMap:
        if name not in self.names:
            raise UnknownNameError(
                f"parameter {name!r}",
                "these maps do not hold it.",
                f"Ask for one of {', '.join(self.names)}.",
            )
        i = self.names.index(name)
        return ParameterMap(self.parameters[i], self.value[i], self.standard_deviation[i])

    def __iter__(self) -> Iterator[ParameterMap]:
        return (self[name] for name in self.names)

    def __contains__(self, name: object) -> bool:
        return name in self.names

    @property
    def estimated(self) -> Tensor:
        """(*voxels) bool: voxels that hold an estimate, flagged or not."""
        return torch.isfinite(self.value).all(0)

    @property
    def trusted(self) -> Tensor:
        """(*voxels) bool: estimated and without any flag."""
        return self.estimated & (self.flags == 0)

    def flag_counts(self) -> dict[Flag, int]:
        """How many voxels carry each flag, and how many carry none."""
        counts = {flag: int(((self.flags & int(flag)) != 0).sum()) for flag in Flag if flag}
        return {Flag.OK: int((self.flags == 0).sum()), **counts}


def _pooled_notes(notes: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """Notes of all slices; of those that differ in their numbers only, the first, and how many more there are."""
    groups: dict[str, list[str]] = {}
    for note in dict.fromkeys(note for one in notes for note in one):
        groups.setdefault(re.sub(r"[-+]?\d[\d.e+-]*", "#", note), []).append(note)
    return tuple(
        group[0] if len(group) == 1 else f"{group[0]} In other slices with other numbers."
        for group in groups.values()
    )
