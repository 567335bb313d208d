"""Few atoms of a dictionary for every signal, and dictionaries that make them few."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def matching_pursuit(
    signals: Tensor, atoms: Tensor, sparsity: int, pool: Callable[[Tensor], Tensor] | None = None
) -> Tensor:
    """Coefficients (atom, signal) of orthogonal matching pursuit, the same number of atoms for all signals.

    Source: Pati 1993.

    Args:
        signals: (sample, signal), real or complex.
        atoms: (sample, atom), of unit length, real or of the signals' type.
        sparsity: atoms a signal.
        pool: averages (atom, signal) scores over signals that should choose alike; each chooses by itself if None.
    """
    atoms = atoms.to(signals.dtype)
    count = signals.shape[1]
    every = torch.arange(count, device=signals.device)
    residual = signals
    chosen: list[Tensor] = []
    basis = signals.new_zeros(count, len(signals), 0)
    free = torch.ones(atoms.shape[1], count, dtype=torch.bool, device=signals.device)
    values = signals.new_zeros(count, 0)
    tiny = torch.finfo(signals.real.dtype).eps
    for _ in range(min(sparsity, *atoms.shape)):
        score = (atoms.mH @ residual).abs()
        if pool is not None:
            score = pool(score.square())
        best = torch.where(free, score, -1).argmax(0)
        free[best, every] = False
        chosen.append(best)
        basis = torch.cat([basis, atoms.T[best].unsqueeze(-1)], -1)
        gram = basis.mH @ basis
        gram = gram + tiny * torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
        moments = basis.mH @ signals.T.unsqueeze(-1)
        values = torch.linalg.solve(gram, moments).squeeze(-1)
        residual = signals - (basis @ values.unsqueeze(-1)).squeeze(-1).T
    out = signals.new_zeros(atoms.shape[1], count)
    for best, value in zip(chosen, values.unbind(-1), strict=True):
        out[best, every] = value
    return out


def learned_dictionary(
    signals: Tensor,
    atoms: int,
    sparsity: int,
    *,
    generator: torch.Generator,
    iterations: int = 15,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """K-SVD: atoms (sample, atom) of unit length, of which each signal needs few.

    Atoms that no signal uses are replaced by the signal that is represented worst.

    Source: Aharon 2006.

    Args:
        signals: (sample, signal).
        atoms: number; at most as many as signals.
        sparsity: atoms a signal.
        generator: draws the signals to start from.
        iterations: rounds over all atoms.
        progress: called with (round, rounds).
    """
    first = torch.randperm(signals.shape[1], generator=generator)[:atoms]
    dictionary = torch.nn.functional.normalize(signals[:, first], dim=0)
    for iteration in range(iterations):
        codes = matching_pursuit(signals, dictionary, sparsity)
        residual = signals - dictionary @ codes
        for k in range(dictionary.shape[1]):
            users = codes[k].nonzero().flatten()
            if not len(users):
                worst = int(residual.norm(dim=0).argmax())
                dictionary[:, k] = torch.nn.functional.normalize(signals[:, worst], dim=0)
                residual[:, worst] = 0
                continue
            rest = residual[:, users] + dictionary[:, k : k + 1] * codes[k, users]
            left, values, right = torch.linalg.svd(rest, full_matrices=False)
            dictionary[:, k] = left[:, 0]
            codes[k, users] = values[0] * right[0]
            residual[:, users] = rest - left[:, :1] * codes[k, users]
        if progress:
            progress(iteration + 1, iterations)
    return dictionary
