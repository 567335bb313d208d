"""Undersampled multi-coil k-space of phantoms, drawn by the batch: what networks from k-space to maps train on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, final

import torch
from torch import Tensor

from fastqmri.learning.pools import PhantomBatch, PhantomPool
from fastqmri.physics.encoding import Fourier, poisson_disc, synthetic_sensitivities, variable_density_lines
from fastqmri.physics.signal import SignalModel

_COILS = 96
"""Sets of coil maps that draws choose from."""
_MASKS = 16
"""Sets of Poisson-disc masks for each acceleration: throwing darts takes longer than a network's step."""


@final
@dataclass(frozen=True)
class KSpaceDraw:
    """Scans of some slices.

    Attributes:
        samples: (slice, contrast, coil, *voxels) complex, zero where nothing was measured.
        sensitivities: (slice, coil, *voxels).
        mask: (slice, contrast, *voxels) bool; axes of length 1 count for all.
        noise: (slice,) standard deviation of one real channel of k-space.
        acceleration: (slice,) R.
        known: parameter -> (slice, *voxels).
        labels: amplitude, the other parameter and the inside of the object (1 or 0), (3, slice, *voxels); None for
            scans of which nothing else is known.
    """

    samples: Tensor
    sensitivities: Tensor
    mask: Tensor
    noise: Tensor
    acceleration: Tensor
    known: Mapping[str, Tensor]
    labels: Tensor | None = None

    def kept(self, mask: Tensor) -> KSpaceDraw:
        """The same scans with fewer samples."""
        measured = [m.float().flatten(1).sum(1) for m in (self.mask, mask)]
        return replace(
            self,
            samples=self.samples * mask[:, :, None],
            mask=mask,
            acceleration=self.acceleration * measured[0] / measured[1],
        )


@final
class KSpaceSource:
    """Draws scans: objects from pools, coils, masks other for every contrast and scan, noise.

    Args:
        model: A, an amplitude and one other estimated parameter.
        pools: each gives its share of a batch.
        sampling: ``lines``, variable density in the last axis, or ``poisson-disc`` in both.
        accelerations: lowest and highest R; whole numbers for Poisson discs.
        snr: lowest and highest, drawn evenly in the logarithm; mean of the first contrast inside the object over the
            noise.
        coils: receive coils.
        outside: value of the second parameter where there is no object.
        fixed_mask: one set of masks for all draws, for comparison.
        seed: of coils and masks that draws choose from.
    """

    def __init__(
        self,
        model: SignalModel,
        pools: tuple[PhantomPool, ...],
        *,
        sampling: Literal["lines", "poisson-disc"],
        accelerations: tuple[float, float],
        snr: tuple[float, float] = (20.0, 100.0),
        coils: int = 4,
        outside: float = 0.05,
        fixed_mask: bool = False,
        seed: int = 0,
    ) -> None:
        self.model, self.pools, self.sampling = model, pools, sampling
        self.accelerations, self.snr, self.outside = accelerations, snr, outside
        generator = torch.Generator().manual_seed(seed)
        voxels = pools[0].voxels
        self._coils = torch.stack(
            [synthetic_sensitivities(voxels, coils, generator=generator) for _ in range(_COILS)]
        )
        self._discs: dict[int, Tensor] = {}
        self._generator = generator
        self._fixed = self._masks(sum(accelerations) / 2, 1, generator)[0] if fixed_mask else None

    def draw(self, count: int, generator: torch.Generator, **fixed: float) -> KSpaceDraw:
        """Some scans.

        Args:
            count: number.
            generator: of all chance.
            **fixed: ``snr`` or ``acceleration`` of all scans.
        """
        shares = [
            count * (i + 1) // len(self.pools) - count * i // len(self.pools) for i in range(len(self.pools))
        ]
        drawn = [p.draw(n, generator) for p, n in zip(self.pools, shares, strict=True) if n]
        objects = PhantomBatch(
            {name: torch.cat([d.maps[name] for d in drawn]) for name in drawn[0].maps},
            torch.cat([d.mask for d in drawn]),
        )
        return self.scan(objects, generator, **fixed)

    def scan(self, objects: PhantomBatch, generator: torch.Generator, **fixed: float) -> KSpaceDraw:
        """Scans of given objects, as in `draw`."""
        names = [p.name for p in self.model.parameters]
        inside = objects.mask.float()
        count = len(inside)
        amplitude = objects.maps[names[0]] * inside
        value = torch.where(objects.mask, objects.maps[names[1]], self.outside)
        known = {n: objects.maps[n] for n in names[2:]}
        images = self.model(torch.stack([amplitude, value, *known.values()])).movedim(0, 1)
        level = (images[:, 0].abs() * inside).flatten(1).sum(1) / inside.flatten(1).sum(1)
        low, high = self.snr
        snr = low * (high / low) ** torch.rand(count, generator=generator)
        if "snr" in fixed:
            snr = torch.full((count,), float(fixed["snr"]))
        low, high = self.accelerations
        rates = low + (high - low) * torch.rand(count, generator=generator)
        if "acceleration" in fixed:
            rates = torch.full((count,), float(fixed["acceleration"]))
        if self.sampling == "poisson-disc":
            rates = rates.round()
        if self._fixed is not None:
            mask = self._fixed.expand(count, *self._fixed.shape)
        else:
            mask = torch.cat([self._masks(float(r), 1, generator) for r in rates])
        coils = self._coils[torch.randint(len(self._coils), (count,), generator=generator)]
        noise = level / snr
        samples = encoded(images, coils, mask)
        white = torch.randn(samples.shape, dtype=samples.dtype, generator=generator) * math.sqrt(2)
        samples = samples + noise.view(-1, *(1,) * (samples.ndim - 1)) * white * mask[:, :, None]
        return KSpaceDraw(samples, coils, mask, noise, rates, known, torch.stack([amplitude, value, inside]))

    def _masks(self, acceleration: float, count: int, generator: torch.Generator) -> Tensor:
        """(count, contrast, *voxels), or 1 for the axis that all lines have whole."""
        contrasts, voxels = self.model.acquisition.contrasts, self.pools[0].voxels
        if self.sampling == "lines":
            rows = [
                variable_density_lines(voxels[-1], contrasts, acceleration, generator=generator)
                for _ in range(count)
            ]
            return torch.stack(rows)[:, :, None]
        rate = round(acceleration)
        if rate not in self._discs:
            source = torch.Generator().manual_seed(rate)  # the same whatever was drawn before
            self._discs[rate] = poisson_disc(
                (voxels[0], voxels[1]), _MASKS * contrasts, rate, generator=source
            )
        chosen = torch.randint(_MASKS * contrasts, (count, contrasts), generator=generator)
        return self._discs[rate][chosen]


def encoded(images: Tensor, sensitivities: Tensor, mask: Tensor) -> Tensor:
    """E of several slices, (slice, contrast, *voxels) -> (slice, contrast, coil, *voxels)."""
    dimensions = sensitivities.ndim - 2
    coil_images = images.to(sensitivities.dtype)[:, :, None] * sensitivities[:, None]
    return Fourier(dimensions)(coil_images) * mask[:, :, None]


def divided(mask: Tensor, held_out: float, generator: torch.Generator, centre: int = 4) -> Tensor:
    """The samples of a mask that stay when a share is held out, never the middle of k-space.

    Source: Yaman 2020.

    Args:
        mask: (slice, contrast, *voxels) bool; axes of length 1 count for all.
        held_out: share of the others.
        generator: draws which.
        centre: samples along each axis in the middle.
    """
    stays = torch.rand(mask.shape, generator=generator) >= held_out
    middle = torch.ones(mask.shape[2:], dtype=torch.bool)
    for axis, side in enumerate(mask.shape[2:]):
        if side > 1:
            near = (torch.arange(side) - side // 2 + centre // 2).unsqueeze(-1)
            line = ((near >= 0) & (near < centre)).view(-1, *(1,) * (mask.ndim - 3 - axis))
            middle = middle & line
    return mask & (stays | middle)


def training_pools(
    names: tuple[str, ...],
    *,
    split: str = "training",
    side: int = 64,
    ellipses: int = 450,
    brains: int = 120,
    data: Path | str | None = None,
) -> tuple[PhantomPool, ...]:
    """Three quarters sharp ellipses, one quarter brains; without brains, ellipses alone."""
    generator = torch.Generator().manual_seed(0)
    voxels = (side, side)
    sharp = PhantomPool.of(
        split, voxels, ellipses=ellipses, generator=generator, names=names, supersampling=1, variation=0.2
    )
    if not brains:
        return (sharp,)
    heads = PhantomPool.of(
        split, voxels, brains=brains, generator=generator, names=names, data=data, variation=0.15
    )
    return sharp, sharp, sharp, heads
