"""Masks and coils for simulated k-space: drawn afresh, or from banks of those that are slow to make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, final

import torch
from torch import Tensor

from fastqmri.core import PlausibilityError, ShapeError
from fastqmri.physics.encoding import line_density, poisson_disc, synthetic_sensitivities


class Sampler(Protocol):
    """Draws which samples of k-space are measured."""

    def draw(
        self, count: int, contrasts: int, voxels: tuple[int, ...], generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Masks (count, contrast, *k) bool, axes of length 1 counting for all, and accelerations (count) float32."""
        ...


@final
@dataclass(frozen=True)
class VariableDensityLines:
    """Random phase-encoding lines along the first axis, as of `fastqmri.physics.encoding.variable_density_lines`.

    Attributes:
        accelerations: R, one of them taken for each object.
        centre: fully sampled lines in the middle; 5 % but at least 4 if None.
        decay: how fast the density falls.
        shared: one mask for all contrasts of an object.
    """

    accelerations: tuple[float, ...]
    centre: int | None = None
    decay: float = 3.0
    shared: bool = False

    def draw(
        self, count: int, contrasts: int, voxels: tuple[int, ...], generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Masks (count, contrast, line, 1, …), as many lines in each as R asks for.

        Lines wait exponentially, at rates of their density; those that come first are a draw without replacement.

        Raises:
            PlausibilityError: fewer lines than the centre has, or an acceleration below 1.
        """
        lines = voxels[0]
        counts = []
        for acceleration in self.accelerations:
            central, density, wanted = line_density(lines, acceleration, centre=self.centre, decay=self.decay)
            counts.append(wanted)
        chosen = torch.randint(len(self.accelerations), (count,), generator=generator)
        size = count if self.shared else count * contrasts
        even = torch.rand((size, lines), dtype=torch.float64, generator=generator)
        waiting = -torch.log1p(-even) / density.clamp_min(1e-300)
        waiting = waiting.masked_fill(central, -1.0)
        rank = waiting.argsort(1).argsort(1)
        needed = torch.tensor(counts)[chosen].repeat_interleave(size // count)
        mask = (rank < needed[:, None]).view(count, -1, lines, *(1,) * (len(voxels) - 1))
        return mask.expand(-1, contrasts, *mask.shape[2:]), torch.tensor(self.accelerations)[chosen]


@final
@dataclass(frozen=True)
class MaskBank:
    """Masks made once; each contrast of an object takes another one, mirrored at random.

    Attributes:
        masks: (acceleration, mask, *k) bool.
        accelerations: R of the first axis.
        mirrored: mirror masks about the middle of k-space.

    Raises:
        ShapeError: another number of accelerations.
    """

    masks: Tensor
    accelerations: tuple[float, ...]
    mirrored: bool = True

    def __post_init__(self) -> None:
        if len(self.masks) != len(self.accelerations):
            raise ShapeError(
                f"masks for {len(self.masks)} accelerations, {len(self.accelerations)} named",
                "each has its own.",
                "Give (acceleration, mask, *k).",
            )

    @classmethod
    def poisson(
        cls,
        matrix: tuple[int, int],
        accelerations: tuple[float, ...],
        *,
        generator: torch.Generator,
        masks: int = 32,
        centre: int | None = None,
        slope: float = 2.0,
    ) -> MaskBank:
        """Poisson discs, see `fastqmri.physics.encoding.poisson_disc`.

        Args:
            matrix: of both phase-encoding axes.
            accelerations: R.
            generator: draws the masks.
            masks: for each R; at least as many as contrasts.
            centre: side of the fully sampled rectangle.
            slope: how fast distances grow towards the rim.
        """
        made = [
            poisson_disc(matrix, masks, r, generator=generator, centre=centre, slope=slope)
            for r in accelerations
        ]
        return cls(torch.stack(made), accelerations)

    def draw(
        self, count: int, contrasts: int, voxels: tuple[int, ...], generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Masks (count, contrast, *k).

        Raises:
            ShapeError: a bank of another matrix.
            PlausibilityError: fewer masks than contrasts.
        """
        held = self.masks.shape[1]
        if tuple(self.masks.shape[2:]) != tuple(voxels):
            raise ShapeError(
                f"masks of {tuple(self.masks.shape[2:])} for objects of {tuple(voxels)}",
                "both must be of one matrix.",
                "Make the bank for the matrix of the objects.",
            )
        if held < contrasts:
            raise PlausibilityError(
                f"{held} masks for {contrasts} contrasts", "each takes another one.", "Make a larger bank."
            )
        chosen = torch.randint(len(self.accelerations), (count,), generator=generator)
        order = torch.rand((count, held), generator=generator).argsort(1)[:, :contrasts]
        mask = self.masks[chosen[:, None], order]
        if self.mirrored:
            turn = torch.rand((count, contrasts, *(1,) * len(voxels)), generator=generator) < 0.5
            axes = tuple(range(2, mask.ndim))
            # about the middle voxel N//2: mirroring an even side needs a step more
            steps = tuple(1 - side % 2 for side in voxels)
            mask = torch.where(turn, mask.flip(axes).roll(steps, axes), mask)
        return mask, torch.tensor(self.accelerations)[chosen]


@final
@dataclass(frozen=True)
class FixedMasks:
    """The same masks for every object.

    Attributes:
        masks: (contrast, *k) bool; axes of length 1 count for all.
    """

    masks: Tensor

    def draw(
        self, count: int, contrasts: int, voxels: tuple[int, ...], generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Masks (count, contrast, *k).

        Raises:
            ShapeError: masks of another number of contrasts or another matrix.
        """
        fits = all(m in (1, v) for m, v in zip(self.masks.shape[1:], voxels, strict=True))
        if len(self.masks) != contrasts or not fits:
            raise ShapeError(
                f"masks of {tuple(self.masks.shape)} for {contrasts} contrasts of {tuple(voxels)}",
                "each contrast has one, on the objects' matrix.",
                "Give masks (contrast, *k).",
            )
        acceleration = self.masks.numel() / float(self.masks.sum())
        return self.masks[None].expand(count, *self.masks.shape), torch.full((count,), acceleration)


@final
@dataclass(frozen=True)
class CoilBank:
    """Coil maps made once; each object takes one of them, turned by a random phase.

    Attributes:
        maps: number of coils -> (set, coil, *voxels) complex64, squares adding up to one.
    """

    maps: dict[int, Tensor]

    @classmethod
    def of(
        cls,
        voxels: tuple[int, ...],
        coils: tuple[int, ...] = (4,),
        *,
        generator: torch.Generator,
        sets: int = 64,
    ) -> CoilBank:
        """Synthetic coils, see `fastqmri.physics.encoding.synthetic_sensitivities`.

        Args:
            voxels: matrix.
            coils: numbers of coils, one of them taken for each batch.
            generator: draws the maps.
            sets: of each number.
        """
        return cls(
            {
                n: torch.stack([synthetic_sensitivities(voxels, n, generator=generator) for _ in range(sets)])
                for n in coils
            }
        )

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """(count, coil, *voxels), of one number of coils."""
        numbers = sorted(self.maps)
        bank = self.maps[numbers[int(torch.randint(len(numbers), (1,), generator=generator))]]
        chosen = bank[torch.randint(len(bank), (count,), generator=generator)]
        turn = 2 * torch.pi * torch.rand((count, *(1,) * (chosen.ndim - 1)), generator=generator)
        return chosen * torch.polar(torch.ones_like(turn), turn)


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
