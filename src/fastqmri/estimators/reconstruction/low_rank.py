"""Contrast images that together are of low rank: everywhere, or block by block."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from fastqmri.core import Measurement, Progress
from fastqmri.estimators.reconstruction.problem import DataTerm, data_term
from fastqmri.solvers.proximal import singular_soft


@dataclass(frozen=True)
class GloballyLowRank:
    """min ½||E ρ - y||² + λ ||C||_*, C the (contrast, voxel) matrix of all images.

    Source: Cai 2010 for the norm; λ is our choice.

    Attributes:
        weight: λ in units of the largest singular value that noise alone has.
        iterations: at most.
        tolerance: relative change to stop at.
    """

    weight: float = 0.2
    iterations: int = 60
    tolerance: float = 1e-4
    name: str = "glr"
    references: tuple[str, ...] = ("cai2010", "beck2009")

    def reconstruct(self, measurement: Measurement, *, progress: Progress | None = None) -> Tensor:
        """Complex images (contrast, *voxels)."""
        term = data_term(measurement)
        threshold = self.weight * noise_norm(term, len(term.right), term.right[0].numel())
        return term.minimum(
            lambda x: singular_soft(x.flatten(1), threshold * term.step).view_as(x),
            iterations=self.iterations,
            tolerance=self.tolerance,
            progress=progress,
        )


@dataclass(frozen=True)
class LocallyLowRank:
    """min ½||E ρ - y||² + λ Σ_b ||C_b||_*, C_b the (contrast, voxel) matrix of a block of voxels.

    The grid of blocks is shifted at random in every iteration, which spares their borders.

    Source: Zhang 2015; λ is our choice.

    Attributes:
        weight: λ in units of the largest singular value that a block of noise alone has.
        block: side of a block in voxels; the least that holds twice as many voxels as there are contrasts, and 4 at
            least, if None.
        iterations: at most.
        tolerance: relative change to stop at.
        seed: of the shifts.
    """

    weight: float = 0.2
    block: int | None = None
    iterations: int = 60
    tolerance: float = 1e-4
    seed: int = 0
    name: str = "llr"
    references: tuple[str, ...] = ("zhang2015", "beck2009")

    def reconstruct(self, measurement: Measurement, *, progress: Progress | None = None) -> Tensor:
        """Complex images (contrast, *voxels)."""
        term = data_term(measurement)
        return term.minimum(
            local_threshold(term, self.weight, self.block, self.seed),
            iterations=self.iterations,
            tolerance=self.tolerance,
            progress=progress,
        )


def noise_norm(term: DataTerm, rows: int, columns: int) -> float:
    """Largest singular value of complex noise, (rows, columns), as large as that in E^H y."""
    return math.sqrt(2) * term.noise * (math.sqrt(rows) + math.sqrt(columns))


def local_threshold(
    term: DataTerm, weight: float, block: int | None, seed: int
) -> Callable[[Tensor], Tensor]:
    """Proximal operator of the local low rank penalty for one gradient step, its grid shifted at every call."""
    rows, *voxels = term.right.shape
    side = max(4, math.ceil((2 * rows) ** (1 / len(voxels)))) if block is None else block
    sides = tuple(min(side, n) for n in voxels)
    threshold = weight * noise_norm(term, rows, math.prod(sides)) * term.step
    generator = torch.Generator().manual_seed(seed)

    def proximal(x: Tensor) -> Tensor:
        shift = tuple(int(torch.randint(side, (1,), generator=generator)) for side in sides)
        return blockwise(x, sides, shift, lambda matrices: singular_soft(matrices, threshold))

    return proximal


def blockwise(
    x: Tensor, sides: tuple[int, ...], shift: tuple[int, ...], change: Callable[[Tensor], Tensor]
) -> Tensor:
    """Change (block, voxel of the block, contrast) matrices of x (contrast, *voxels).

    The grid starts at ``-shift``; images go on beyond an edge at the opposite one, and with zeros where sides are no
    multiples of the block's.
    """
    voxels = x.shape[1:]
    axes = tuple(range(1, x.ndim))
    whole = [-(-n // side) * side for n, side in zip(voxels, sides, strict=True)]
    x = x.roll(shift, axes)
    padding = [p for n, w in zip(reversed(voxels), reversed(whole), strict=True) for p in (0, w - n)]
    if any(padding):
        x = torch.nn.functional.pad(x, padding)
    split = [part for w, side in zip(whole, sides, strict=True) for part in (w // side, side)]
    counts = [1 + 2 * i for i in range(len(sides))]
    order = [*counts, *(c + 1 for c in counts), 0]
    parts = x.reshape(len(x), *split).permute(order)
    matrices = parts.reshape(-1, math.prod(sides), len(x))
    back = change(matrices).view(parts.shape).permute([order.index(i) for i in range(len(order))])
    back = back.reshape(len(x), *whole)[(slice(None), *(slice(n) for n in voxels))]
    return back.roll(tuple(-s for s in shift), axes)
