"""A trained network as dipole inversion: what goes in, physics finishing, and flags."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from fastqmri.core import Flag
from fastqmri.estimators.susceptibility import LocalField, SusceptibilityMap, TotalVariation
from fastqmri.estimators.susceptibility.filters import Cut
from fastqmri.estimators.susceptibility.inversion import AXES
from fastqmri.estimators.susceptibility.inversion_variation import local_size
from fastqmri.learning.networks.dipole import FieldInput, UnrolledDipole
from fastqmri.physics.encoding.dipole import Vector
from fastqmri.solvers.conjugate_gradient import conjugate_gradient

WARM_START = TotalVariation(jump=0.05, iterations=40)
"""The first χ, of training and of use alike."""
_MARGIN = 1
_MISFIT = 3.0
"""Times the noise that D χ + rest may miss the field by, root mean square over five voxels a side."""
_SPREAD = (
    "one repetition with drawn noise, its change averaged over five voxels; the systematic error is not in it"
)


@dataclass(frozen=True)
class LearnedInversion:
    """Susceptibility along B0 and the rest of the field by an `UnrolledDipole` from a few steps of total variation.

    Attributes:
        network: trained.
        check: refuses or warns of a field that the network was not trained for: warnings.
        largest: absolute χ in ppm, against the mean, that the network was trained for; beyond it voxels are flagged.
        weights: what tells these weights from others, for records.
        start: first χ; None for zero.
        finishing: steps of conjugate gradients for the field from the network's χ; 0 for none.
        pull: of the finishing towards the network's χ, in units of (noise / typical χ)².
    """

    network: UnrolledDipole = field(repr=False)
    check: Callable[[LocalField], tuple[str, ...]] = field(repr=False)
    largest: float
    weights: str = ""
    start: TotalVariation | None = WARM_START
    finishing: int = 0
    pull: float = 0.1

    def __call__(self, local: LocalField) -> SusceptibilityMap:
        """Invert.

        Raises:
            ValidityError: a field outside what the network was trained for.
        """
        warnings = self.check(local)
        axis = nearest_axis(local)
        local = _turned(local, axis)
        given, chi, rest = self._invert(local)
        misfit = (given.dipoles(chi) + rest - given.field)[0]
        inside = given.mask[0] > 0
        relative = torch.where(inside, misfit / given.deviation[0].clamp_min(1e-9), 0.0)
        flags = torch.zeros(inside.shape, dtype=torch.uint8, device=inside.device)
        if local.noise > 0:
            flags[inside & (local_size(relative, inside) > _MISFIT)] |= int(Flag.MODEL_MISFIT)
        away = chi[0] - chi[0][inside].mean()
        flags[inside & (away.abs() > self.largest)] |= int(Flag.OUTSIDE_TRAINING_RANGE)
        box = Cut(local.mask, _MARGIN)

        def back(x: Tensor) -> Tensor:
            return box.back(x).transpose(axis, -1)

        def spread() -> Tensor:
            noise = torch.randn(local.field.shape, generator=torch.Generator().manual_seed(0))
            noise = noise.to(local.field) * local.variance.sqrt()
            again = dataclasses.replace(
                local, field=local.field + noise, known_noise=local.noise, progress=None
            )
            change = self._invert(again)[1] - chi
            return back(local_size((change - change[given.mask > 0].mean())[0], inside))

        return SusceptibilityMap(
            back(chi[0]),
            spread,
            _SPREAD,
            iterations=self.network.iterations,
            rest=back(rest[0]) if self.network.rest else None,
            flags=back(flags),
            notes=warnings,
        )

    def _invert(self, local: LocalField) -> tuple[FieldInput, Tensor, Tensor]:
        given = prepared(local, self.start)
        if local.progress:
            local.progress(1, 2)
        with torch.no_grad():
            chi, rest = self.network.eval()(given).unbind(1)
        if self.finishing:
            chi = finished(given, chi, rest, self.finishing, self.pull)
        if local.progress:
            local.progress(2, 2)
        return given, chi, rest


def nearest_axis(local: LocalField) -> int:
    """The voxel axis that B0 is closest to, from the end: -1 for the third."""
    return max(AXES, key=lambda axis: abs(local.directions[0][axis]))


def _turned(local: LocalField, axis: int) -> LocalField:
    """The field with one of its axes exchanged for the last, as the network was trained."""
    if axis == -1:
        return local

    def exchanged(three: Vector) -> Vector:
        parts = list(three)
        parts[axis], parts[-1] = parts[-1], parts[axis]
        x, y, z = parts
        return x, y, z

    def turn(x: Tensor) -> Tensor:
        return x.transpose(axis, -1).contiguous()

    return dataclasses.replace(
        local,
        field=turn(local.field),
        mask=turn(local.mask),
        weight=turn(local.weight),
        magnitude=None if local.magnitude is None else turn(local.magnitude),
        voxel_size=exchanged(local.voxel_size),
        directions=(exchanged(local.directions[0]),),
    )


def prepared(local: LocalField, start: TotalVariation | None = WARM_START) -> FieldInput:
    """What an `UnrolledDipole` takes of the local field of one orientation.

    Args:
        local: the field.
        start: makes the first χ; None for zero.
    """
    box = Cut(local.mask, _MARGIN)
    quiet = dataclasses.replace(local, known_noise=local.noise, progress=None)
    first = torch.zeros_like(local.field[0]) if start is None else start(quiet).value
    inside = box(local.mask).to(local.field.dtype)
    first = box(first) * inside
    first = (first - first.sum() / inside.sum()) * inside
    return FieldInput(
        box(local.field[0])[None],
        inside[None],
        box(local.variance[0].sqrt())[None],
        first[None],
        local.kernel[None],
        local.voxels,
    )


def finished(given: FieldInput, chi: Tensor, rest: Tensor, steps: int, pull: float) -> Tensor:
    """min ||W^½ (D χ + rest - δ)||² + μ ||χ - χ_network||² in the mask, by a few steps of conjugate gradients.

    Args:
        given: the field.
        chi: (batch, *voxels) of the network.
        rest: (batch, *voxels) of the network.
        steps: of conjugate gradients.
        pull: μ.
    """
    mask, weight = given.mask, given.weight
    missed = mask * given.dipoles(weight * (given.field - given.dipoles(chi) - rest))

    def normal(x: Tensor) -> Tensor:
        return mask * given.dipoles(weight * given.dipoles(x)) + pull * x

    change = conjugate_gradient(normal, missed, iterations=steps, tolerance=0.0)
    return chi + change
