"""From the local field to susceptibility: what every dipole inversion takes and gives."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import avg_pool3d

from fastqmri.core import AcquisitionError, DataError, Progress, ShapeError
from fastqmri.core.units import GYROMAGNETIC_RATIO
from fastqmri.estimators.susceptibility.filters import fast_length
from fastqmri.physics.encoding import dipole_kernel, unit_direction
from fastqmri.physics.encoding.dipole import Vector, padded

AXES = (-3, -2, -1)

PADDING = 1.3
"""Least side of the matrix over the extent of the mask."""
_LEAST_MARGIN = 16
"""Voxels that a padded matrix has more than the mask, at least."""
_QUIET_CUBE, _QUIET_SHARE = 5, 0.02
"""Side of the cubes that noise is looked for in, and their share that is taken for free of structure."""


@dataclass(frozen=True)
class LocalField:
    """The field of what lies inside the mask, and all that an inversion may want to know besides.

    Attributes:
        field: (orientation, *voxels) in ppm of B0, zero outside the mask.
        mask: (*voxels) bool.
        voxel_size: mm along each axis.
        directions: unit vectors of B0 along the voxel axes, one an orientation.
        weight: (orientation or 1, *voxels), proportional to 1 / noise, 1 at its root mean square over the mask, zero
            outside.
        known_noise: standard deviation of the field in ppm where the weight is 1; None finds it in the field.
        magnitude: (*voxels), whose edges are where susceptibility may jump; None if not known.
        radians_per_ppm: 2π γ/2π B0 TE of the phase that the field was made from; None if not known.
        progress: called with (iteration, iterations).
    """

    field: Tensor
    mask: Tensor
    voxel_size: Vector
    directions: tuple[Vector, ...]
    weight: Tensor
    known_noise: float | None = None
    magnitude: Tensor | None = None
    radians_per_ppm: float | None = None
    progress: Progress | None = None

    @property
    def voxels(self) -> tuple[int, int, int]:
        """Shape of the voxel axes."""
        x, y, z = self.mask.shape
        return x, y, z

    @property
    def kernels(self) -> Tensor:
        """D of each orientation, (orientation, side, side, side // 2 + 1)."""
        return torch.stack([self._kernel(direction) for direction in self.directions])

    @property
    def kernel(self) -> Tensor:
        """D of the only orientation, (side, side, side // 2 + 1)."""
        return self._kernel(self.directions[0])

    @cached_property
    def noise(self) -> float:
        """Standard deviation of the field in ppm where the weight is 1, looked for when first asked."""
        if self.known_noise is not None:
            return self.known_noise
        last = len(self.weight) - 1
        return max(field_noise(one, self.mask, self.weight[min(i, last)]) for i, one in enumerate(self.field))

    @property
    def variance(self) -> Tensor:
        """(orientation or 1, *voxels), of the field's noise in ppm²; zero outside the mask."""
        seen = self.weight > 0
        return torch.where(seen, self.noise**2 / torch.where(seen, self.weight, 1.0).square(), 0.0)

    def _kernel(self, direction: Vector) -> Tensor:
        kernel = _remembered(self.voxels, self.voxel_size, direction)
        return kernel.to(device=self.field.device, dtype=self.field.dtype)


@lru_cache(maxsize=4)
def _remembered(voxels: tuple[int, int, int], voxel_size: Vector, direction: Vector) -> Tensor:
    return dipole_kernel(voxels, voxel_size, direction)


@dataclass(frozen=True)
class SusceptibilityMap:
    """What an inversion gives.

    Attributes:
        value: (*voxels) in ppm against the reference, zero outside the mask.
        spread: computes the standard deviation of ``value`` that the field's noise makes, (*voxels) in ppm.
        spread_is: how ``spread`` knows, for people.
        reference: what susceptibility is counted from, for people.
        iterations: how many were done; 0 for closed forms.
        converged: whether an iteration ended by its own rule, not by its limit.
        rest: (*voxels) in ppm of B0, what of the field is taken to be no field of dipoles along B0; None where all is.
        flags: (*voxels) uint8 bit field of `Flag` that the inversion itself raises; None for none.
        notes: what the user should know, in sentences.
    """

    value: Tensor
    spread: Callable[[], Tensor]
    spread_is: str
    reference: str = "not referenced"
    iterations: int = 0
    converged: bool = True
    rest: Tensor | None = None
    flags: Tensor | None = None
    notes: tuple[str, ...] = ()

    @cached_property
    def standard_deviation(self) -> Tensor:
        """(*voxels) in ppm, from the noise of the field alone; computed when first asked for."""
        return self.spread()


class Method(Protocol):
    """Settings of an inversion, which they carry out when called."""

    def __call__(self, local: LocalField) -> SusceptibilityMap:
        """Invert; values may have any mean."""
        ...


@dataclass(frozen=True)
class Inversion:
    """A named way from the local field to susceptibility.

    Attributes:
        name: for ``--inversion`` and the records.
        description: one line for people.
        references: bibliography keys.
        method: its settings.
        least_orientations: how many directions of B0 it needs.
        most_orientations: how many it can use.
    """

    name: str
    description: str
    references: tuple[str, ...]
    method: Method
    least_orientations: int = 1
    most_orientations: int = 1

    def configured(self, **settings: Any) -> Inversion:
        """The same with other settings of its method."""
        return dataclasses.replace(self, method=dataclasses.replace(self.method, **settings))  # type: ignore[type-var]

    def invert(
        self,
        field: Tensor,
        mask: Tensor,
        *,
        voxel_size: Sequence[float],
        b0_direction: Sequence[float] | Sequence[Sequence[float]] | Tensor = (0.0, 0.0, 1.0),
        weight: Tensor | None = None,
        noise: float | None = None,
        magnitude: Tensor | None = None,
        radians_per_ppm: float | None = None,
        reference: Tensor | None = None,
        padding: float = PADDING,
        progress: Progress | None = None,
    ) -> SusceptibilityMap:
        """Susceptibility of a local field.

        Args:
            field: (*voxels) in ppm of B0, or (orientation, *voxels).
            mask: (*voxels) bool; what is outside is not looked at.
            voxel_size: mm along each axis.
            b0_direction: of B0 along the voxel axes, (3,), or (orientation, 3).
            weight: (*voxels) or (orientation, *voxels), proportional to 1 / noise of the field (magnitude, as a rule).
                None takes all voxels alike.
            noise: standard deviation of the field in ppm where the weight is at its root mean square; None finds it in
                the field, a little too high where that is rich in fine structure.
            magnitude: (*voxels), for inversions that look for its edges.
            radians_per_ppm: phase of the echo for a field of one ppm, see `radians_per_ppm`; for inversions that know
                phase wraps.
            reference: (*voxels) bool, the region whose mean is zero; None takes the mask.
            padding: the matrix is enlarged with zeros where it is smaller than this times the mask's extent, so that no
                field leaves at one face and enters at the other; 1 for a field that does.
            progress: called with (iteration, iterations).

        Raises:
            ShapeError: maps of different voxels, or as many directions as orientations are not given.
            DataError: values in the mask that are not finite, or an empty mask.
            AcquisitionError: fewer or more orientations than it can use.
            PlausibilityError: a padding that would crop.
        """
        given = torch.as_tensor(b0_direction, dtype=torch.float64).reshape(-1, 3)
        directions = tuple(unit_direction(one) for one in given.tolist())
        if field.ndim == 3:
            field = field[None]
        _check(
            field, mask, len(directions), {"weight": weight, "magnitude": magnitude, "reference": reference}
        )
        if not self.least_orientations <= len(field) <= self.most_orientations:
            raise AcquisitionError(
                f"{len(field)} orientations for {self.name}",
                f"it takes {self.least_orientations} to {self.most_orientations}.",
                "Choose another inversion, or give it other fields.",
            )
        field = torch.where(mask, field, torch.zeros((), dtype=field.dtype, device=field.device))
        if not bool(torch.isfinite(field).all()):
            raise DataError(
                "a field that is not finite everywhere in the mask",
                "one such voxel spoils all others.",
                "Leave it out of the mask, or fill it.",
            )
        if weight is None:
            weight = mask.to(field.dtype)[None]
        else:
            weight = _normalised(weight if weight.ndim == 4 else weight[None], mask).to(field.dtype)
        x, y, z = (float(side) for side in voxel_size)
        box = _Enlarged(mask, padding)
        local = LocalField(
            box(field),
            box(mask),
            (x, y, z),
            directions,
            box(weight),
            noise,
            None if magnitude is None else box(magnitude),
            radians_per_ppm,
            progress,
        )
        result = self.method(local)
        named = "mean over the mask" if reference is None else "mean over the reference region"
        return dataclasses.replace(
            result,
            value=referenced(box.back(result.value), mask, reference),
            spread=lambda: box.back(result.spread()),
            reference=f"{named} is zero",
            rest=None if result.rest is None else box.back(result.rest),
            flags=None if result.flags is None else box.back(result.flags),
        )


def referenced(chi: Tensor, mask: Tensor, reference: Tensor | None = None) -> Tensor:
    """Susceptibility counted from the mean of a region, zero outside the mask: the field leaves that number open.

    Args:
        chi: (*voxels) in ppm.
        mask: (*voxels) bool.
        reference: (*voxels) bool; None takes the mask.

    Raises:
        DataError: no voxel of the region is in the mask.
    """
    region = mask if reference is None else mask & reference
    count = int(region.sum())
    if not count:
        raise DataError(
            "a reference region without a voxel in the mask",
            "susceptibility has no zero of its own.",
            "Choose another region.",
        )
    mean = torch.where(region, chi, 0.0).sum() / count
    return torch.where(mask, chi - mean, 0.0)


def radians_per_ppm(field_strength: float, echo_time: float) -> float:
    """Phase in rad that a field of one ppm makes: 2π γ/2π B0 TE 1e-6.

    Args:
        field_strength: T.
        echo_time: s.
    """
    return 2e-6 * math.pi * GYROMAGNETIC_RATIO * field_strength * echo_time


def field_noise(field: Tensor, mask: Tensor, weight: Tensor | None = None) -> float:
    """Standard deviation of white noise in a field, from its finest structure where that is weakest; in its units.

    Differences along all three axes at once, whose mean square over a small cube is low where the field is smooth;
    the same is done to drawn noise, with which they are compared.

    Args:
        field: (*voxels).
        mask: (*voxels) bool.
        weight: (*voxels) proportional to 1 / noise; the result is then that of weight 1.

    Returns:
        The standard deviation; 0 where the mask is too thin to tell.
    """
    if weight is None:
        weight = mask.to(field.dtype)
    inside = mask & (weight > 0)
    noise = torch.randn(field.shape, dtype=field.dtype, generator=torch.Generator().manual_seed(0))
    noise = noise.to(field.device) / torch.where(inside, weight, 1.0)
    found, drawn = _quiet(field, inside, weight), _quiet(noise, inside, weight)
    return found / drawn if drawn > 0 else 0.0


def _quiet(field: Tensor, inside: Tensor, weight: Tensor) -> float:
    """Root mean square of the weighted finest differences in the quietest cubes; 0 where there are none."""
    for axis in range(3):
        field = field.diff(dim=axis)
        weight = weight.narrow(axis, 1, weight.shape[axis] - 1)
        inside = inside.narrow(axis, 1, inside.shape[axis] - 1) & inside.narrow(
            axis, 0, inside.shape[axis] - 1
        )
    if not bool(inside.any()):
        return 0.0
    cube = [min(_QUIET_CUBE, side) for side in inside.shape]
    pair = torch.stack([torch.where(inside, field * weight, 0.0).square(), inside.to(field.dtype)])
    square, share = avg_pool3d(pair[:, None], cube, stride=1)[:, 0]
    fullest = share >= min(0.999, float(share.max()))
    means = square[fullest] / share[fullest]
    return float(means.kthvalue(max(1, round(_QUIET_SHARE * len(means)))).values.sqrt())


def filtered_deviation(filters: Tensor, variance: Tensor) -> Tensor:
    """Standard deviation (*voxels) of a filtered field with noise of its own in every voxel.

    Args:
        filters: (orientation, side, side, side // 2 + 1), real and even; the results are added.
        variance: (orientation or 1, *voxels).
    """
    sides = tuple(variance.shape[-3:])
    response = torch.fft.irfftn(filters, s=sides, dim=AXES)
    spectrum = torch.fft.rfftn(response.square_(), dim=AXES) * torch.fft.rfftn(variance, dim=AXES)
    return torch.fft.irfftn(spectrum.sum(0), s=sides, dim=AXES).clamp_min_(0).sqrt_()


class _Enlarged:
    """A matrix with zeros behind it (and, since it wraps, before it) where it is tight around a mask; and back."""

    def __init__(self, mask: Tensor, padding: float) -> None:
        self._own = tuple(mask.shape)
        if padding == 1:
            self._sides = list(mask.shape)
            return
        extents = []
        for axis in range(3):
            there = mask.any(dim=tuple(a for a in range(3) if a != axis)).nonzero()
            extents.append(int(there.max() - there.min()) + 1)
        wanted = padded(extents, padding)
        self._sides = [
            side if side >= least else fast_length(least)
            for side, least in zip(
                mask.shape,
                (max(want, extent + _LEAST_MARGIN) for want, extent in zip(wanted, extents, strict=True)),
                strict=True,
            )
        ]

    def __call__(self, volume: Tensor) -> Tensor:
        x, y, z = self._own
        if [x, y, z] == self._sides:
            return volume
        out = volume.new_zeros(*volume.shape[:-3], *self._sides)
        out[..., :x, :y, :z] = volume
        return out

    def back(self, volume: Tensor) -> Tensor:
        x, y, z = self._own
        return volume[:x, :y, :z]


def _normalised(weight: Tensor, mask: Tensor) -> Tensor:
    weight = torch.where(mask, weight, torch.zeros((), dtype=weight.dtype, device=weight.device))
    if not bool(torch.isfinite(weight).all()) or bool((weight < 0).any()) or not bool((weight > 0).any()):
        raise DataError(
            "a weight that is negative, not finite, or zero in the whole mask",
            "it stands for 1 / noise.",
            "Give the magnitude, or leave the weight out.",
        )
    inside = weight.double().square().sum() / (int(mask.sum()) * len(weight))
    return weight / inside.sqrt()


def _check(field: Tensor, mask: Tensor, directions: int, maps: dict[str, Tensor | None]) -> None:
    voxels = tuple(mask.shape)
    if field.ndim != 4 or len(voxels) != 3 or len(field) != directions:
        raise ShapeError(
            f"a field of {tuple(field.shape)}, a mask of {voxels} and {directions} directions of B0",
            "each orientation has a volume and a direction.",
            "Give (*voxels) with one direction, or (orientation, *voxels) with as many.",
        )
    if not bool(mask.any()):
        raise DataError("a mask without a single voxel", "nothing would be estimated.", "Check the mask.")
    given = {"field": field, **{name: value for name, value in maps.items() if value is not None}}
    for name, value in given.items():
        if tuple(value.shape[-3:]) != voxels:
            raise ShapeError(
                f"{name} of {tuple(value.shape)} for a mask of {voxels}",
                "all maps lie on the same voxels.",
                "Resample it first.",
            )
