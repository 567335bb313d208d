"""Which atom of a dictionary is most like a signal: one searcher a way of looking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from fastqmri.solvers import nearest, subspace

EXACT_LOSS = 1e-5  # of norm, to the compression that the exact search looks in first
LOSS = 3e-4  # of norm, to the compression of the approximate searches
_ROUNDING = 16  # times the precision of the atoms, whose norms are one but for that
_VOXELS, _ATOMS = 1024, 8192
_GROUP = 256


class Searcher(Protocol):
    """Finds the atom of the largest inner product with each signal."""

    def find(self, data: Tensor) -> Tensor:
        """(voxel) atom numbers for signals of unit norm, (voxel, sample)."""
        ...


@dataclass(frozen=True)
class Everything:
    """Compares every atom, by matrix products of blocks.

    Attributes:
        atoms: (atom, sample); with complex ones the modulus of the product counts.
        directions: (sample, direction) to compress the signals on first, as the atoms are; or None.
    """

    atoms: Tensor
    directions: Tensor | None = None

    @classmethod
    def compressed(cls, atoms: Tensor, loss: float = LOSS, rank: int | None = None) -> Everything:
        """Compares in the subspace where no atom loses more than ``loss`` of its norm, or that has a given rank."""
        kept = (
            _directions(atoms, loss)[0]
            if rank is None
            else subspace.principal(atoms)[0][:, :rank].contiguous()
        )
        return cls(_unit(subspace.coordinates(atoms, kept)), kept)

    def find(self, data: Tensor) -> Tensor:
        """Atom numbers, (voxel)."""
        if self.directions is not None:
            data = data.to(self.directions.dtype) @ self.directions
        found = [self._block(block.to(self.atoms.dtype)) for block in data.split(_VOXELS)]
        return torch.cat(found) if found else torch.empty(0, dtype=torch.int64)

    def _block(self, data: Tensor) -> Tensor:
        best = torch.full((len(data),), -torch.inf, dtype=data.real.dtype)
        chosen = torch.zeros(len(data), dtype=torch.int64)
        for begin in range(0, len(self.atoms), _ATOMS):
            product = data @ self.atoms[begin : begin + _ATOMS].mH
            score, number = (product.abs() if product.is_complex() else product).max(1)
            better = score > best
            best, chosen = torch.where(better, score, best), torch.where(better, number + begin, chosen)
        return chosen

    def weighted(self, data: Tensor, weights: Tensor) -> Tensor:
        """Atom numbers, (voxel), where samples count differently: (voxel, sample) both."""
        found = []
        for block, weight in zip(data.split(_VOXELS), weights.split(_VOXELS), strict=True):
            best = torch.full((len(block),), -torch.inf, dtype=torch.float64)
            chosen = torch.zeros(len(block), dtype=torch.int64)
            for begin in range(0, len(self.atoms), _ATOMS):
                atoms = self.atoms[begin : begin + _ATOMS]
                product = (block * weight).to(atoms.dtype) @ atoms.mH
                norm = (weight.to(atoms.real.dtype) @ atoms.abs().square().T).sqrt().clamp_min(1e-30)
                score = ((product.abs() if product.is_complex() else product) / norm).double()
                top, number = score.max(1)
                better = top > best
                best, chosen = torch.where(better, top, best), torch.where(better, number + begin, chosen)
            found.append(chosen)
        return torch.cat(found)


@dataclass(frozen=True)
class Nearest:
    """Exact, and fast: looks in a compressed dictionary with a tree, and proves or corrects what it finds.

    Atoms and signals have unit norm, so that the largest inner product is the smallest distance. In the subspace
    atoms lose at most ``loss`` of their norm, and a signal the known rest ρ of its: by Cauchy-Schwarz an inner product
    there is within ``loss`` ρ of the full one. All atoms within twice that of the best are compared in full.

    Attributes:
        atoms: (atom, sample), real.
        directions: (sample, direction).
        loss: the most that an atom loses.
        tree: of the compressed atoms.
    """

    atoms: Tensor
    directions: Tensor
    loss: float
    tree: nearest.Tree

    @classmethod
    def of(cls, atoms: Tensor, loss: float = EXACT_LOSS) -> Nearest:
        """Prepare the search among atoms (atom, sample) of unit norm; the more may be lost, the fewer directions."""
        kept, loss = _directions(atoms, loss)
        return cls(atoms, kept, loss, nearest.Tree.of(subspace.coordinates(atoms, kept).numpy()))

    def find(self, data: Tensor) -> Tensor:
        """Atom numbers, (voxel)."""
        wide = data.double()
        inside = wide @ self.directions
        rest = (1 - inside.square().sum(1)).clamp_min(0).sqrt()
        margins = 4 * self.loss * rest + self.loss**2 + _ROUNDING * torch.finfo(self.atoms.dtype).eps
        candidates, counts = self.tree.nearest(inside.numpy(), margins.numpy())
        found = candidates[:, 0].copy()
        several = np.flatnonzero((counts > 1) & (counts <= candidates.shape[1]))
        if len(several):
            found[several], _ = nearest.best_of(
                candidates[several], counts[several], self.atoms.numpy(), wide[several].numpy()
            )
        chosen = torch.from_numpy(found)
        many = torch.from_numpy(counts > candidates.shape[1])
        if bool(many.any()):
            chosen[many] = Everything(self.atoms).find(data[many])
        return chosen


@dataclass(frozen=True)
class Grouped:
    """Approximate: only atoms of the groups whose means are most like the signal are compared, in a subspace.

    Attributes:
        directions: (sample, direction).
        groups: of the compressed atoms.
        keep: groups to look into.
    """

    directions: Tensor
    groups: nearest.Groups
    keep: int = 12

    @classmethod
    def of(cls, atoms: Tensor, loss: float = LOSS, keep: int = 12) -> Grouped:
        """Group atoms (atom, sample) of unit norm."""
        kept, _ = _directions(atoms, loss)
        size = max(8, min(_GROUP, int(len(atoms) ** 0.5)))
        return cls(kept, nearest.Groups.of(_unit(subspace.coordinates(atoms, kept)).numpy(), size), keep)

    def find(self, data: Tensor) -> Tensor:
        """Atom numbers, (voxel)."""
        inside = _unit(data.double() @ self.directions)
        return torch.from_numpy(self.groups.nearest(inside.contiguous().numpy(), self.keep))


def _directions(atoms: Tensor, loss: float) -> tuple[Tensor, float]:
    """The fewest directions in which no atom loses more than ``loss``, (sample, direction), and what is lost."""
    directions, _ = subspace.principal(atoms)
    losses = subspace.lost(atoms, directions)
    rank = min(int((losses > loss).sum()) + 1, len(losses))
    return directions[:, :rank].contiguous(), float(losses[rank - 1])


def _unit(rows: Tensor) -> Tensor:
    """Rows of unit norm."""
    return rows / rows.abs().square().sum(1, keepdim=True).sqrt().clamp_min(1e-30)
