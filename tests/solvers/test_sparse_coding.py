"""Orthogonal matching pursuit and K-SVD."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch.nn.functional import normalize

from fastqmri.solvers.sparse_coding import learned_dictionary, matching_pursuit


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_pursuit_finds_planted_atoms(dtype, generator):
    atoms = normalize(torch.randn(40, 50, dtype=torch.float64, generator=generator), dim=0)
    codes = torch.zeros(50, 30, dtype=dtype)
    for column in range(30):
        chosen = torch.randperm(50, generator=generator)[:3]
        values = torch.randn(3, dtype=dtype, generator=generator)
        codes[chosen, column] = values + 2 * values.sgn()
    got = matching_pursuit(atoms.to(dtype) @ codes, atoms, 3)
    assert (got != 0).sum(0).max() <= 3
    exact = (got - codes).norm(dim=0) < 1e-6
    assert int(exact.sum()) >= 28  # the pursuit is greedy: now and then it errs


def test_pursuit_of_one_atom_is_the_best_of_all(generator):
    atoms = normalize(torch.randn(6, 9, dtype=torch.float64, generator=generator), dim=0)
    signals = torch.randn(6, 40, dtype=torch.complex128, generator=generator)
    rest = (signals - atoms.to(signals.dtype) @ matching_pursuit(signals, atoms, 1)).norm(dim=0)
    brute = torch.stack(
        [(signals - a[:, None] * (a.to(signals.dtype) @ signals)).norm(dim=0) for a in atoms.T]
    )
    assert torch.allclose(rest, brute.amin(0))


def test_residual_is_orthogonal_to_what_was_chosen(generator):
    atoms = normalize(torch.randn(8, 20, dtype=torch.float64, generator=generator), dim=0)
    signals = torch.randn(8, 25, dtype=torch.float64, generator=generator)
    codes = matching_pursuit(signals, atoms, 3)
    overlap = atoms.T @ (signals - atoms @ codes)
    assert float(overlap[codes != 0].abs().max()) < 1e-10
    best = torch.full((25,), torch.inf, dtype=torch.float64)
    for three in itertools.combinations(range(20), 3):
        fit = torch.linalg.lstsq(atoms[:, three], signals).solution
        best = torch.minimum(best, (signals - atoms[:, three] @ fit).norm(dim=0))
    assert ((signals - atoms @ codes).norm(dim=0) >= best.amin(0) - 1e-12).all()


def test_learning_finds_planted_atoms(generator):
    truth = normalize(torch.randn(10, 15, dtype=torch.float64, generator=generator), dim=0)
    codes = torch.zeros(15, 1500, dtype=torch.float64)
    for column in range(1500):
        two = torch.randperm(15, generator=generator)[:2]
        codes[two, column] = torch.randn(2, dtype=torch.float64, generator=generator)
    signals = truth @ codes
    seen = []
    atoms = learned_dictionary(
        signals, 15, 2, generator=generator, iterations=25, progress=lambda done, of: seen.append((done, of))
    )
    assert torch.allclose(atoms.norm(dim=0), torch.ones(15, dtype=torch.float64))
    found = (truth.T @ atoms).abs().amax(1) > 0.99
    assert int(found.sum()) >= 12
    assert seen[-1] == (25, 25)


def test_signals_that_choose_together(generator):
    """Pooled over all, noisy copies of one signal agree on its atom."""
    atoms = normalize(torch.randn(8, 30, dtype=torch.float64, generator=generator), dim=0)
    signals = atoms[:, 7:8] + 0.5 * torch.randn(8, 400, dtype=torch.float64, generator=generator)
    alone = matching_pursuit(signals, atoms, 1)
    together = matching_pursuit(signals, atoms, 1, pool=lambda s: s.mean(1, keepdim=True).expand_as(s))
    assert int((alone[7] != 0).sum()) < 380
    assert bool((together[7] != 0).all())
    assert int((together != 0).sum()) == 400
