"""The few directions that hold nearly all of many vectors."""

from __future__ import annotations

import torch
from torch import Tensor

_VECTORS = 16_384
_BLOCK = 4096
_MOST = 128


def principal(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Directions of largest energy first, (sample, direction), and the share of energy that the first n hold.

    Of very many vectors, evenly spaced ones stand for all.

    Args:
        vectors: (vector, sample), real or complex.
    """
    stride = max(1, -(-len(vectors) // _VECTORS))
    some = vectors[::stride].to(torch.complex128 if vectors.is_complex() else torch.float64)
    energies, directions = torch.linalg.eigh(some.mH @ some)
    energies = energies.flip(0).clamp_min(0)
    shares = energies.cumsum(0) / energies.sum().clamp_min(torch.finfo(energies.dtype).tiny)
    return directions.flip(1), shares


def lost(vectors: Tensor, directions: Tensor) -> Tensor:
    """The most that any unit vector loses when only the first n directions are kept, (direction)."""
    kept = directions[:, :_MOST]
    least = torch.full((kept.shape[1],), torch.inf, dtype=torch.float64)
    for block in vectors.split(_BLOCK):
        wide = block.to(directions.dtype)
        energy = wide.abs().square().sum(1, keepdim=True)
        least = torch.minimum(least, ((wide @ kept).abs().square().cumsum(1) - energy).amin(0))
    losses = (-least).clamp_min(0).sqrt()
    if kept.shape[1] == directions.shape[1] == directions.shape[0]:
        losses[-1] = 0.0  # all directions together lose nothing
    return losses


def coordinates(vectors: Tensor, directions: Tensor) -> Tensor:
    """(vector, direction) of vectors (vector, sample), in double precision."""
    return torch.cat([block.to(directions.dtype) @ directions for block in vectors.split(_BLOCK)])


def leading_direction(matrices: Tensor, iterations: int = 8) -> Tensor:
    """Right singular vector of the largest singular value of many small matrices, by power iteration.

    Args:
        matrices: (..., row, column).
        iterations: each squares, in effect, the matrix whose power is taken.

    Returns:
        (..., column), of length one; zero for matrices of zeros.
    """
    tiny = torch.finfo(matrices.real.dtype).tiny
    power = matrices.mH @ matrices
    for _ in range(iterations):
        size = power.diagonal(dim1=-2, dim2=-1).real.sum(-1)[..., None, None]
        power = power / size.clamp_min(tiny)
        power = power @ power
    energies = power.diagonal(dim1=-2, dim2=-1).real
    best = energies.argmax(-1, keepdim=True)[..., None].expand(*power.shape[:-1], 1)
    column = power.gather(-1, best).squeeze(-1)
    return column / torch.linalg.vector_norm(column, dim=-1, keepdim=True).clamp_min(tiny)
