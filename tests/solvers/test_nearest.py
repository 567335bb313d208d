"""The search among many points against comparing them all."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fastqmri.solvers import nearest, subspace


def _distances(points: np.ndarray, queries: np.ndarray) -> np.ndarray:
    return ((queries[:, None] - points[None]) ** 2).sum(2)


def _first_of_nearest(points: np.ndarray, queries: np.ndarray) -> np.ndarray:
    return np.concatenate([_distances(points, part).argmin(1) for part in np.array_split(queries, 20)])


def _surface(rng: np.random.Generator, count: int, dimensions: int) -> np.ndarray:
    """Points on a curved surface, as the atoms of a dictionary are."""
    u, v = rng.random((2, count, 1))
    waves = np.arange(1, dimensions + 1)
    points = np.cos(u * waves) * np.exp(-v * waves / 3)
    return points / np.linalg.norm(points, axis=1, keepdims=True)


@pytest.mark.parametrize("count", [1, 2, 17, 128, 129, 5000])
@pytest.mark.parametrize("dimensions", [1, 3, 12])
def test_the_tree_finds_the_nearest(count: int, dimensions: int) -> None:
    rng = np.random.default_rng(count + dimensions)
    points = _surface(rng, count, dimensions)
    queries = np.concatenate([points[:200], rng.normal(size=(200, dimensions))])
    found, counts = nearest.Tree.of(points).nearest(queries, np.zeros(len(queries)))
    away = _distances(points, queries)
    assert np.array_equal(away[np.arange(len(queries)), found[:, 0]], away.min(1)) or np.allclose(
        away[np.arange(len(queries)), found[:, 0]], away.min(1), rtol=1e-13, atol=1e-15
    )
    assert bool((counts >= 1).all())


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 400), st.floats(0, 0.3))
def test_all_within_the_margin_are_candidates(seed: int, count: int, margin: float) -> None:
    rng = np.random.default_rng(seed)
    points, queries = _surface(rng, count, 4), rng.normal(size=(20, 4))
    found, counts = nearest.Tree.of(points).nearest(queries, np.full(20, margin))
    away = _distances(points, queries)
    for row, numbers, n in zip(away, found, counts, strict=True):
        clear = row <= row.min() + margin - 1e-12
        if n <= found.shape[1]:  # more were met on the way otherwise, and nothing is claimed
            assert set(np.flatnonzero(clear)) <= set(numbers[:n].tolist())
            assert bool((row[numbers[:n]] <= row.min() + margin + 1e-12).all())


def test_a_tree_with_a_lost_leaf_is_noticed() -> None:
    rng = np.random.default_rng(0)
    points = _surface(rng, 500, 5)
    tree = nearest.Tree.of(points)
    members = tree.leaves.members.copy()
    members[3] = members[4]
    broken = dataclasses.replace(tree, leaves=dataclasses.replace(tree.leaves, members=members))
    found, _ = broken.nearest(points, np.zeros(len(points)))
    assert not np.array_equal(found[:, 0], np.arange(len(points)))


def test_groups_find_nearly_all_and_all_when_all_are_kept() -> None:
    rng = np.random.default_rng(1)
    points = _surface(rng, 3000, 6)
    queries = points[rng.integers(0, 3000, 1000)] + rng.normal(scale=0.02, size=(1000, 6))
    groups = nearest.Groups.of(points, 64)
    truth = _first_of_nearest(points, queries)
    assert np.array_equal(groups.nearest(queries, groups.means.shape[1]), truth)
    assert (groups.nearest(queries, 4) == truth).mean() > 0.97


def test_searches_without_compiled_code_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    points, queries = _surface(rng, 300, 5), rng.normal(size=(50, 5))
    groups = nearest.Groups.of(points, 20)
    candidates = rng.integers(0, 300, (50, 6))
    counts = rng.integers(1, 7, 50)
    with_kernels = groups.nearest(queries, 3), *nearest.best_of(candidates, counts, points, queries)
    monkeypatch.setattr(nearest, "kernels", lambda: None)
    without = groups.nearest(queries, 3), *nearest.best_of(candidates, counts, points, queries)
    assert np.array_equal(with_kernels[0], without[0])
    assert np.array_equal(with_kernels[1], without[1])
    assert np.allclose(with_kernels[2], without[2], rtol=1e-13)


def test_losses_of_a_subspace_are_the_norms_of_the_rest() -> None:
    rng = np.random.default_rng(3)
    points = torch.from_numpy(_surface(rng, 400, 9))
    directions, shares = subspace.principal(points)
    losses = subspace.lost(points, directions)
    for rank in range(1, 10):
        kept = directions[:, :rank]
        rest = points - points @ kept @ kept.T
        assert float(losses[rank - 1]) == pytest.approx(float(rest.norm(dim=1).max()), abs=1e-7)
        share = float((points @ kept).square().sum() / points.square().sum())
        assert float(shares[rank - 1]) == pytest.approx(share, abs=1e-12)
    assert float(losses[-1]) == 0.0
