"""Batched non-negative least squares against scipy's solver, and the rules of regularisation against their words."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls

from fastqmri.solvers import nonnegative
from fastqmri.solvers.nonnegative import Table, solve

SAMPLES, COLUMNS = 24, 15
SEARCH = np.linspace(0.0, 1.0, 9)


def _table() -> Table:
    """Decays on a logarithmic grid, slower the larger the place: as ill-conditioned as those of a spin-echo train."""
    places = np.linspace(0.0, 1.0, 401)
    times = np.arange(1, SAMPLES + 1)[:, None] * 0.01
    rates = 1 / np.geomspace(0.01, 1.0, COLUMNS)
    phase = (1 + places[:, None, None]) * rates * times
    return Table(np.exp(-phase), -rates * times * np.exp(-phase), 0.0, places[1])


TABLE = _table()


def _matrix(place: float) -> np.ndarray:
    return TABLE.values[round(place / TABLE.step)]


def _data(rng: np.random.Generator, voxels: int, place: float, noise: float) -> np.ndarray:
    x = rng.random((voxels, COLUMNS)) * (rng.random((voxels, COLUMNS)) < 0.2)
    x[:, 7] += 1
    return x @ _matrix(place).T + noise * rng.normal(size=(voxels, SAMPLES))


def _optimality(x: np.ndarray, y: np.ndarray, matrix: np.ndarray, ridge: float) -> float:
    """How far a solution is from the conditions of Karush, Kuhn and Tucker, relative to |Aᵀy|."""
    slope = matrix.T @ (y - matrix @ x) - ridge * x
    worst = max(np.abs(slope[x > 0]).max(initial=0.0), slope.max(initial=0.0), -x.min())
    return worst / np.abs(matrix.T @ y).max()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 1e-3, 0.05, 0.5]))
def test_against_scipy(seed: int, noise: float) -> None:
    rng = np.random.default_rng(seed)
    data = _data(rng, 6, 0.5, noise)
    weights = rng.random((6, SAMPLES)) if seed % 2 else None
    found = solve(data, TABLE, np.full(6, 0.5), SEARCH, weights=weights)
    for v in range(6):
        row = np.ones(SAMPLES) if weights is None else weights[v]
        matrix, y = _matrix(0.5) * row[:, None], data[v] * row
        x, misfit = nnls(matrix, y)
        assert _optimality(found.x[v], y, matrix, 0.0) < 1e-10
        assert np.sqrt(found.cost[v]) <= misfit * (1 + 1e-7) + 1e-6 * np.linalg.norm(y)
        if noise:  # without, the amplitudes are as ill-determined as the matrix is conditioned
            assert np.isclose(found.x[v].sum(), x.sum(), rtol=1e-6)


def test_the_conditions_notice_a_wrong_solution() -> None:
    rng = np.random.default_rng(0)
    data = _data(rng, 1, 0.5, 0.01)
    x = solve(data, TABLE, np.full(1, 0.5), SEARCH).x[0]
    assert _optimality(x, data[0], _matrix(0.5), 0.0) < 1e-10
    assert _optimality(x * 1.001, data[0], _matrix(0.5), 0.0) > 1e-6
    assert _optimality(x, data[0], _matrix(0.5), 1e-3) > 1e-6


def test_the_misfit_is_raised_by_the_factor() -> None:
    data = _data(np.random.default_rng(1), 200, 0.25, 0.01)
    least = solve(data, TABLE, np.full(200, 0.25), SEARCH)
    found = solve(data, TABLE, np.full(200, 0.25), SEARCH, "factor", 1.02)
    assert np.allclose(found.cost / least.cost, 1.02, rtol=1e-6)
    for v in range(0, 200, 20):
        assert _optimality(found.x[v], data[v], _matrix(0.25), found.ridge[v]) < 1e-9


def test_the_misfit_is_raised_to_the_noise() -> None:
    data = _data(np.random.default_rng(2), 200, 0.25, 0.01)
    found = solve(data, TABLE, np.full(200, 0.25), SEARCH, "discrepancy", 0.012)
    least = solve(data, TABLE, np.full(200, 0.25), SEARCH)
    reachable = least.cost < 0.012**2 * SAMPLES
    assert reachable.mean() > 0.8
    assert np.allclose(np.sqrt(found.cost[reachable] / SAMPLES), 0.012, rtol=1e-6)
    assert bool((found.ridge[~reachable] == 0).all())


def test_cross_validation_takes_the_least_score() -> None:
    data = _data(np.random.default_rng(3), 5, 0.25, 0.01)
    found = solve(data, TABLE, np.full(5, 0.25), SEARCH, "generalised")
    matrix = _matrix(0.25)
    singular = np.linalg.svd(matrix, compute_uv=False)

    def score(y: np.ndarray, ridge: float) -> float:
        x, _ = nnls(
            np.vstack([matrix, np.sqrt(ridge) * np.eye(COLUMNS)]), np.concatenate([y, np.zeros(COLUMNS)])
        )
        freedom = SAMPLES - (singular**2 / (singular**2 + ridge)).sum()
        return float(((matrix @ x - y) ** 2).sum() / freedom**2)

    for y, ridge in zip(data, found.ridge, strict=True):
        trials = [score(y, r) for r in np.geomspace(1e-8, 1e2, 101)]
        assert score(y, ridge) <= min(trials) * (1 + 1e-4)


def test_the_place_is_found() -> None:
    rng = np.random.default_rng(4)
    x = np.zeros((50, COLUMNS))
    x[:, 7] = 1.0
    places = rng.integers(40, 360, 50)
    data = np.stack([TABLE.values[k] @ row for k, row in zip(places, x, strict=True)])
    # one column alone; its neighbours at other places are nearly as good, and some searches end there
    found = solve(data + 1e-6 * rng.normal(size=data.shape), TABLE, np.full(50, np.nan), SEARCH)
    assert (found.cost < 1e-9).mean() > 0.9
    known = solve(data, TABLE, places * TABLE.step, SEARCH)
    assert np.allclose(known.x, x, atol=1e-6)
    assert bool(np.isnan(known.curve).all())


def test_variances_are_those_of_repeated_noise() -> None:
    """20 000 noisy copies of one voxel; a well conditioned problem whose amplitudes stay positive."""
    rng = np.random.default_rng(5)
    table = Table(TABLE.values[:, :, 2::6], TABLE.slopes[:, :, 2::6], 0.0, TABLE.step)
    x = (
        np.array([1.0, 2.0])[: table.values.shape[2]]
        if table.values.shape[2] == 2
        else np.array([1.0, 2.0, 1.5])
    )
    matrix = table.values[100]
    data = x @ matrix.T + 0.01 * rng.normal(size=(20_000, SAMPLES))
    found = solve(data, table, np.full(len(data), 0.25), SEARCH)
    assert bool((found.x > 0).all())
    gradients = np.concatenate([np.eye(len(x)), np.ones((1, len(x)))])[:, :, None]
    claimed = 0.01 * np.sqrt(found.variances(gradients).mean(1))
    spread = np.append(found.x.std(0), found.x.sum(1).std())
    assert np.allclose(claimed, spread, rtol=0.03)
    assert found.variances(gradients).shape == (len(x) + 1, len(data))


def test_more_threads_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    data = _data(np.random.default_rng(6), 300, 0.25, 0.01)
    one = solve(data, TABLE, np.full(300, np.nan), SEARCH, "factor", 1.02)
    monkeypatch.setattr(nonnegative.dispatch, "_threads", lambda: 3)
    many = solve(data, TABLE, np.full(300, np.nan), SEARCH, "factor", 1.02)
    assert np.array_equal(one.x, many.x)
    assert np.array_equal(one.place, many.place)
