"""Local fields of phantoms with anisotropic fibres, drawn, kept and turned, for networks that invert them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from fastqmri.core import Progress
from fastqmri.core.units import GYROMAGNETIC_RATIO
from fastqmri.estimators.susceptibility import (
    Inversion,
    LocalField,
    SusceptibilityMap,
    TotalVariation,
)
from fastqmri.learning.dipole_inversion import WARM_START, prepared
from fastqmri.learning.networks.dipole import FieldInput
from fastqmri.phantoms import Phantom, susceptibility_ellipsoids, susceptibility_head
from fastqmri.phantoms.anisotropy import parts_of_field
from fastqmri.physics.encoding import dipole_kernel

_EXTENT = 0.9
"""Largest share of the matrix that a phantom, with a voxel round it, takes along an axis."""
_TESLA, _ECHO = 3.0, 0.02
RADIANS_PER_PPM = 2e-6 * math.pi * GYROMAGNETIC_RATIO * _TESLA * _ECHO
"""Phase at 3 T and 20 ms, which signal-to-noise ratios are those of."""


@dataclass(frozen=True)
class FieldRanges:
    """What phantoms and their fields are drawn from.

    Attributes:
        side: of the matrix.
        snr: of the magnitude at 3 T and an echo time of 20 ms, mean over the mask.
        tilt: of B0 against the third axis, rad.
        texture: standard deviation in ppm of what varies smoothly within tissues, drawn evenly in its logarithm.
        stretch: of a voxel along the third axis, relative to the others.
        isotropic: share of phantoms without fibres.
        calcification: share of phantoms with one.
        heads: share of phantoms that are heads of ellipsoids.
        folds: share of the others with folded tissues.
    """

    side: int = 40
    snr: tuple[float, float] = (40.0, 100.0)
    tilt: tuple[float, float] = (0.0, math.radians(15))
    texture: tuple[float, float] = (0.001, 0.01)
    stretch: tuple[float, float] = (1.0, 1.5)
    isotropic: float = 0.15
    calcification: float = 0.1
    heads: float = 0.2
    folds: float = 0.5


@dataclass(frozen=True)
class DrawnField:
    """A field with its noise, and the truth behind it.

    Attributes:
        phantom: its shapes.
        field: (*voxels) float32 ppm of B0, zero outside the mask.
        weight: (*voxels) float32, proportional to 1 / noise.
        chi33: (*voxels) float32 ppm, zero outside the mask.
        rest: (*voxels) float32 ppm of B0, zero outside the mask.
        direction: of B0.
        voxel_size: mm.
        noise: standard deviation in ppm where the weight is at its root mean square.
    """

    phantom: Phantom
    field: Tensor
    weight: Tensor
    chi33: Tensor
    rest: Tensor
    direction: tuple[float, float, float]
    voxel_size: tuple[float, float, float]
    noise: float

    def invert(self, inversion: Inversion, *, noise: float | None = None) -> SusceptibilityMap:
        """Susceptibility by an inversion, which finds the noise in the field if it is not told."""
        return inversion.invert(
            self.field,
            self.phantom.mask,
            voxel_size=self.voxel_size,
            b0_direction=self.direction,
            weight=self.weight,
            noise=noise,
            magnitude=self.phantom.maps["M0"].float(),
            radians_per_ppm=RADIANS_PER_PPM,
        )


def draw_phantom(ranges: FieldRanges, generator: torch.Generator) -> Phantom:
    """An ellipsoid with smaller ones or folds in it, or a head, with or without fibres and a calcification."""

    def chance(share: float) -> bool:
        return bool(torch.rand(1, generator=generator) < share)

    sides = (ranges.side,) * 3
    low, high = ranges.texture
    texture = low * (high / low) ** float(torch.rand(1, generator=generator))
    bundles = 0 if chance(ranges.isotropic) else int(torch.randint(3, 9, (1,), generator=generator))
    stone, head, folded = chance(ranges.calcification), chance(ranges.heads), chance(ranges.folds)
    if head:
        return susceptibility_head(
            sides, generator=generator, texture=texture, calcification=stone, bundles=2 * bundles
        )
    folds = int(torch.randint(2, 5, (1,), generator=generator)) if folded else 0
    return susceptibility_ellipsoids(
        sides, generator=generator, texture=texture, calcification=stone, bundles=bundles, folds=folds
    )


def draw_field(phantom: Phantom, ranges: FieldRanges, generator: torch.Generator) -> DrawnField:
    """The field of a phantom in the mask for a drawn direction of B0 and shape of voxels, with noise."""

    def uniform(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand(1, dtype=torch.float64, generator=generator))

    tilt, round_ = uniform(*ranges.tilt), uniform(0, 2 * math.pi)
    direction = (
        math.sin(tilt) * math.cos(round_),
        math.sin(tilt) * math.sin(round_),
        math.cos(tilt),
    )
    size = (1.0, 1.0, uniform(*ranges.stretch))
    parts = parts_of_field(phantom, direction, voxel_size=size)
    mask = phantom.mask
    decay = torch.exp(-_ECHO / phantom.maps["T2star"].clamp_min(1e-3))
    magnitude = (phantom.maps["M0"] * decay).clamp_min(1e-3)
    relative = magnitude / magnitude[mask].mean()
    level = 1 / (uniform(*ranges.snr) * RADIANS_PER_PPM)
    noise = torch.randn(mask.shape, dtype=torch.float64, generator=generator) * level / relative
    maps = (parts.field + noise, relative, parts.chi33, parts.rest)
    field, weight, chi33, rest = ((one * mask).float() for one in maps)
    known = level / float(relative[mask].square().mean().sqrt())
    return DrawnField(phantom, field, weight, chi33, rest, direction, size, known)


@dataclass(frozen=True)
class FieldBatch:
    """Fields as a network takes them, and the truth.

    Attributes:
        given: batched.
        chi33: (batch, *voxels) ppm.
        rest: (batch, *voxels) ppm of B0.
    """

    given: FieldInput
    chi33: Tensor
    rest: Tensor


class FieldPool:
    """Fields drawn once and prepared by the very path of use, then given out mirrored and with x and y exchanged.

    Args:
        seeds: one for each field.
        ranges: what is drawn.
        start: makes the first χ; None for zero.
        progress: called with (fields, of all).
    """

    def __init__(
        self,
        seeds: range,
        ranges: FieldRanges = FieldRanges(),
        *,
        start: TotalVariation | None = WARM_START,
        progress: Progress | None = None,
    ) -> None:
        self._items: list[FieldBatch] = []
        self._where: list[tuple[tuple[float, float, float], tuple[float, float, float]]] = []
        self._box = (math.ceil(_EXTENT * ranges.side),) * 3
        # as far from wrapping as the matrix of use
        self._sides = (math.ceil(1.2 * ranges.side),) * 3
        for done, seed in enumerate(seeds):
            generator = torch.Generator().manual_seed(seed)
            drawn = draw_field(draw_phantom(ranges, generator), ranges, generator)
            # in use the noise is sometimes known and sometimes found in the field
            self._items.append(_prepared(drawn, start, self._box, drawn.noise if seed % 2 else None))
            self._where.append((drawn.direction, drawn.voxel_size))
            if progress:
                progress(done + 1, len(seeds))

    def __len__(self) -> int:
        return len(self._items)

    def draw(self, generator: torch.Generator, count: int) -> FieldBatch:
        """Some fields, each mirrored along drawn axes and perhaps with x and y exchanged: B0 keeps its axis."""
        rows = []
        for _ in range(count):
            at = int(torch.randint(len(self._items), (1,), generator=generator))
            rows.append(self._turned(at, (torch.rand(4, generator=generator) < 0.5).tolist()))
        given = rows[0].given
        names = ("field", "mask", "deviation", "start", "kernel")
        joined: dict[str, Any] = {n: torch.cat([getattr(row.given, n) for row in rows]) for n in names}
        return FieldBatch(
            replace(given, **joined), torch.cat([r.chi33 for r in rows]), torch.cat([r.rest for r in rows])
        )

    def all(self) -> list[FieldBatch]:
        """Every field as it was drawn."""
        return [self._turned(at, [False] * 4) for at in range(len(self._items))]

    def _turned(self, at: int, coins: list[bool]) -> FieldBatch:
        item, (direction, size) = self._items[at], self._where[at]
        mirrored = [axis - 3 for axis in range(3) if coins[axis]]
        b = [-part if coin else part for part, coin in zip(direction, coins[:3], strict=True)]

        def turn(x: Tensor) -> Tensor:
            x = x.flip(mirrored)
            return x.transpose(-3, -2) if coins[3] else x

        if coins[3]:
            b = [b[1], b[0], b[2]]
        given = item.given
        names = ("field", "mask", "deviation", "start")
        maps: dict[str, Any] = {name: turn(getattr(given, name)) for name in names}
        kernel = dipole_kernel(self._sides, size, b)[None]
        return FieldBatch(
            replace(given, **maps, kernel=kernel, sides=self._sides), turn(item.chi33), turn(item.rest)
        )


def _prepared(
    drawn: DrawnField, start: TotalVariation | None, box: tuple[int, ...], noise: float | None
) -> FieldBatch:
    """The field cut to its mask as in use, then with zeros behind it up to the box."""
    keep = _Kept(start)
    inversion = Inversion("keep", "keeps what it was given", (), keep)
    drawn.invert(inversion, noise=noise)
    (given, local) = keep.found[0]
    truth = []
    for one in (drawn.chi33, drawn.rest):
        enlarged = torch.zeros(local.voxels)
        enlarged[tuple(slice(side) for side in one.shape)] = one
        truth.append(enlarged)
    cut = prepared(replace(local, field=truth[0][None], known_noise=0.0), None).field
    rest = prepared(replace(local, field=truth[1][None], known_noise=0.0), None).field

    def fill(x: Tensor) -> Tensor:
        over = [side - have for side, have in zip(box, x.shape[-3:], strict=True)]
        return pad(x, (0, over[2], 0, over[1], 0, over[0]))

    names = ("field", "mask", "deviation", "start")
    maps: dict[str, Any] = {name: fill(getattr(given, name)) for name in names}
    return FieldBatch(replace(given, **maps), fill(cut), fill(rest))


class _Kept:
    """A method that keeps what a network would be given."""

    def __init__(self, start: TotalVariation | None) -> None:
        self.found: list[tuple[FieldInput, LocalField]] = []
        self._start = start

    def __call__(self, local: LocalField) -> SusceptibilityMap:
        self.found.append((prepared(local, self._start), local))
        zeros = torch.zeros_like(local.field[0])
        return SusceptibilityMap(zeros, lambda: zeros, "")
