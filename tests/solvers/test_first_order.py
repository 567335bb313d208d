"""First-order methods against dense and closed-form solutions."""

from __future__ import annotations

import pytest
import torch

from fastqmri.solvers.first_order import admm, fista, largest_eigenvalue, primal_dual
from fastqmri.solvers.proximal import box, soft, within_ball


@pytest.fixture
def lasso(generator):
    """½||A x - b||² + t |x|_1, and the check of its optimality conditions."""
    a = torch.randn(30, 12, dtype=torch.complex128, generator=generator)
    b = torch.randn(30, dtype=torch.complex128, generator=generator)
    gram, right, threshold = a.mH @ a, a.mH @ b, 8.0

    def check(x, tolerance=1e-6):
        slope = right - gram @ x
        support = x.abs() > 1e-9
        assert 0 < int(support.sum()) < 12
        assert float((slope[support] - threshold * x[support] / x[support].abs()).abs().max()) < tolerance
        assert float(slope[~support].abs().max()) <= threshold + tolerance

    return gram, right, threshold, float(torch.linalg.eigvalsh(gram)[-1]), check


def test_power_iteration(generator):
    a = torch.randn(12, 9, dtype=torch.complex128, generator=generator)
    start = torch.randn(9, dtype=torch.complex128, generator=generator)
    value = largest_eigenvalue(lambda x: a.mH @ (a @ x), start, iterations=400, tolerance=1e-9)
    assert value == pytest.approx(float(torch.linalg.matrix_norm(a, 2)) ** 2, rel=1e-5)
    assert largest_eigenvalue(torch.zeros_like, start) == 0


@pytest.mark.parametrize("restart", [False, True])
def test_fista_solves_the_lasso(lasso, restart):
    gram, right, threshold, lipschitz, check = lasso
    x = fista(
        lambda x: gram @ x - right,
        lambda x: soft(x, threshold / lipschitz),
        torch.zeros_like(right),
        step=1 / lipschitz,
        iterations=3000,
        restart=restart,
    )
    check(x)


def test_restart_is_faster_on_a_strongly_convex_problem(generator):
    scale = torch.logspace(-3, 0, 40, dtype=torch.float64)
    wanted = torch.randn(40, dtype=torch.float64, generator=generator)

    def error(restart):
        x = fista(
            lambda x: scale * (x - wanted), lambda x: x, 0 * wanted, step=1, iterations=400, restart=restart
        )
        return float((x - wanted).norm())

    assert error(True) < 0.2 * error(False)


def test_fista_stops_when_settled(lasso):
    gram, right, threshold, lipschitz, check = lasso
    seen = []
    x = fista(
        lambda x: gram @ x - right,
        lambda x: soft(x, threshold / lipschitz),
        torch.zeros_like(right),
        step=1 / lipschitz,
        iterations=3000,
        tolerance=1e-10,
        progress=lambda done, of: seen.append((done, of)),
    )
    check(x)
    assert seen == [(i + 1, 3000) for i in range(len(seen))]
    assert len(seen) < 1000


def test_primal_dual_solves_the_lasso(lasso):
    gram, right, threshold, lipschitz, check = lasso
    x = primal_dual(
        lambda x: gram @ x - right,
        lambda x: x,
        lambda x: x,
        lambda y: within_ball(y, threshold),
        torch.zeros_like(right),
        lipschitz=lipschitz,
        norm=1.0,
        balance=10.0,
        iterations=4000,
    )
    check(torch.where(x.abs() > 1e-7, x, 0), 1e-5)


def test_admm_solves_the_lasso(lasso):
    gram, right, threshold, _, check = lasso
    penalty = 10.0
    inverse = torch.linalg.inv(gram + penalty * torch.eye(12))
    x = admm(
        lambda v, _: inverse @ (right + penalty * v),
        lambda x: x,
        lambda x: soft(x, threshold / penalty),
        torch.zeros_like(right),
        iterations=2000,
        tolerance=1e-12,
    )
    check(torch.where(x.abs() > 1e-8, x, 0))


@pytest.mark.parametrize("kind", ["primal-dual", "admm"])
def test_denoising_by_total_variation_of_a_step_is_known(kind):
    """A step of height h between n and n samples loses t/n at either side (taut string)."""
    noisy = torch.cat([torch.zeros(10), torch.ones(10)]).double()
    wanted = torch.cat([torch.full((10,), 0.05), torch.full((10,), 0.95)]).double()
    threshold = 0.5
    difference = torch.eye(20, dtype=torch.float64).diff(dim=0)
    if kind == "admm":
        inverse = torch.linalg.inv(torch.eye(20) + difference.T @ difference)
        x = admm(
            lambda v, _: inverse @ (noisy + difference.T @ v),
            lambda x: difference @ x,
            lambda z: soft(z, threshold),
            torch.zeros_like(noisy),
            iterations=2000,
        )
    else:
        x = primal_dual(
            lambda x: x - noisy,
            lambda x: difference @ x,
            lambda y: difference.T @ y,
            lambda y: within_ball(y, threshold),
            torch.zeros_like(noisy),
            lipschitz=1.0,
            norm=2.0,
            iterations=3000,
        )
    assert torch.allclose(x, wanted, atol=1e-6)


def test_primal_dual_keeps_within_a_box():
    target = torch.tensor([-1.0, 0.4, 3.0]).double()
    x = primal_dual(
        lambda x: x - target,
        lambda x: x,
        lambda y: y,
        lambda y: within_ball(y, 0.1),
        torch.zeros_like(target),
        lipschitz=1.0,
        norm=1.0,
        proximal=lambda x: box(x, 0.0, 1.0),
        iterations=500,
    )
    assert torch.allclose(x, torch.tensor([0.0, 0.3, 1.0]).double(), atol=1e-8)


def test_primal_dual_does_not_stop_where_only_the_dual_moves():
    """Started at the minimum of f, x stands still at first."""
    noisy = torch.tensor([0.0, 1.0, 0.0, 1.0]).double()
    difference = torch.eye(4, dtype=torch.float64).diff(dim=0)
    x = primal_dual(
        lambda x: x - noisy,
        lambda x: difference @ x,
        lambda y: difference.T @ y,
        lambda y: within_ball(y, 10.0),
        noisy,
        lipschitz=1.0,
        norm=2.0,
        iterations=2000,
        tolerance=1e-9,
    )
    assert torch.allclose(x, torch.full_like(x, 0.5), atol=1e-6)
