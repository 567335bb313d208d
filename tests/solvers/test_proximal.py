"""Proximal operators against brute force, optimality conditions and dense decompositions."""

from __future__ import annotations

import itertools

import pytest
import torch

from fastqmri.solvers import isotonic, proximal
from fastqmri.solvers.proximal import oscar_weights

WEIGHTS = torch.tensor([0.9, 0.6, 0.3, 0.2], dtype=torch.float64)


def penalty_ordered(z, weights=WEIGHTS):
    return (z.abs().sort(-1, descending=True).values * weights[: z.shape[-1]]).sum(-1)


def penalty_oscar(z, threshold=0.2, slope=0.15):
    pairs = itertools.combinations(range(z.shape[-1]), 2)
    return threshold * z.abs().sum(-1) + slope * sum(
        torch.maximum(z[..., i].abs(), z[..., j].abs()) for i, j in pairs
    )


OPERATORS = {
    "soft": (lambda x: proximal.soft(x, 0.4), lambda z: 0.4 * z.abs().sum(-1)),
    "group": (lambda x: proximal.group_soft(x, 0.7, -1), lambda z: 0.7 * z.abs().square().sum(-1).sqrt()),
    "sparse-group": (
        lambda x: proximal.sparse_group_soft(x, 0.3, 0.5, -1),
        lambda z: 0.3 * z.abs().sum(-1) + 0.5 * z.abs().square().sum(-1).sqrt(),
    ),
    "ordered": (lambda x: proximal.ordered(x, WEIGHTS[: x.shape[-1]]), penalty_ordered),
    "oscar": (lambda x: proximal.ordered(x, oscar_weights(x.shape[-1], 0.2, 0.15)), penalty_oscar),
    "ball": (
        lambda x: proximal.within_ball(x, 0.8, -1),
        lambda z: torch.where(z.abs().square().sum(-1) <= 0.64 + 1e-9, 0.0, torch.inf),
    ),
    "disc": (
        lambda x: proximal.within_ball(x, 0.8),
        lambda z: torch.where(z.abs().amax(-1) <= 0.8 + 1e-9, 0.0, torch.inf),
    ),
}
REAL = {
    **OPERATORS,
    "box": (
        lambda x: proximal.box(x, -0.3, 0.5),
        lambda z: torch.where((z.amin(-1) >= -0.3 - 1e-9) & (z.amax(-1) <= 0.5 + 1e-9), 0.0, torch.inf),
    ),
}


def check_optimal(operator, penalty, x, generator):
    """No point of many, near and far, is better than the operator's (the problem is convex: near ones suffice)."""
    z = operator(x)
    best = 0.5 * (z - x).abs().square().sum(-1) + penalty(z)
    assert torch.isfinite(best).all()
    for scale in (1.0, 0.3, 0.1, 1e-2, 1e-3):
        away = scale * torch.randn((400, *x.shape), dtype=x.dtype, generator=generator)
        sparse = away * (torch.rand(away.shape, generator=generator) < 0.4)
        for other in (z + away, z + sparse, (1 - scale * torch.rand(400, 1, 1, generator=generator)) * z):
            value = 0.5 * (other - x).abs().square().sum(-1) + penalty(other)
            assert (value >= best - 1e-12).all()


@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("name", REAL)
def test_nothing_is_better_real(name, size, generator):
    x = torch.randn(30, size, dtype=torch.float64, generator=generator)
    check_optimal(*REAL[name], x, generator)


@pytest.mark.parametrize("name", OPERATORS)
def test_nothing_is_better_complex(name, generator):
    x = torch.randn(30, 4, dtype=torch.complex128, generator=generator)
    check_optimal(*OPERATORS[name], x, generator)


def test_search_finds_a_fault(generator):
    x = torch.randn(30, 3, dtype=torch.float64, generator=generator)
    with pytest.raises(AssertionError):
        check_optimal(lambda x: proximal.soft(x, 0.41), OPERATORS["soft"][1], x, generator)


@pytest.mark.parametrize("name", REAL)
def test_does_not_expand(name, generator):
    operator, _ = REAL[name]
    a, b = torch.randn(2, 500, 4, dtype=torch.float64, generator=generator)
    assert ((operator(a) - operator(b)).norm(dim=-1) <= (a - b).norm(dim=-1) * (1 + 1e-12)).all()


def test_soft_is_the_textbooks():
    x = torch.tensor([-2.0, -0.1, 0.0, 0.5, 3.0])
    assert torch.allclose(proximal.soft(x, 0.5), torch.tensor([-1.5, 0.0, 0.0, 0.0, 2.5]))
    assert torch.allclose(proximal.soft(torch.tensor(3 + 4j), 1.0), torch.tensor(2.4 + 3.2j))


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex64])
def test_oscar_without_slope_is_soft_thresholding(dtype, generator):
    x = torch.randn(7, 9, dtype=dtype, generator=generator)
    assert torch.allclose(proximal.ordered(x, oscar_weights(9, 0.4, 0.0)), proximal.soft(x, 0.4), atol=1e-6)


def test_ordered_with_one_weight_first_lowers_the_largest(generator):
    """w = (t, 0, 0, …) is the largest magnitude's norm: x minus its projection on the l1 ball (Moreau)."""
    x = torch.randn(50, 12, dtype=torch.float64, generator=generator)
    weights = torch.zeros(12, dtype=torch.float64)
    weights[0] = 1.3
    rest = x - proximal.ordered(x, weights)
    magnitude = x.abs().sort(-1, descending=True).values
    steps = torch.arange(1, 13)
    level = (magnitude.cumsum(-1) - 1.3) / steps
    count = (magnitude > level).sum(-1, keepdim=True)
    threshold = level.gather(-1, count - 1).clamp_min(0)
    assert torch.allclose(rest, proximal.soft(x, threshold), atol=1e-12)


@pytest.mark.parametrize("count", [1, 2, 7, 30])
def test_pooling_compiled_and_not_agree_and_meet_the_conditions(count, generator):
    v = torch.randn(40, count, dtype=torch.float64, generator=generator)
    z = isotonic.non_increasing(v)
    assert torch.allclose(z, isotonic._min_max(v), atol=1e-12)
    assert (z.diff(dim=-1) <= 1e-12).all()
    sums = (v - z).cumsum(-1)
    assert (sums <= 1e-10).all()  # multipliers of z_i >= z_(i+1) have one sign,
    assert (sums[..., -1].abs() < 1e-10).all()
    assert ((sums[..., :-1] * z.diff(dim=-1)).abs() < 1e-10).all()  # and vanish where it is not tight


def test_pooling_has_a_gradient(generator):
    v = torch.randn(3, 8, dtype=torch.float64, generator=generator, requires_grad=True)
    assert torch.autograd.gradcheck(isotonic.non_increasing, v)


@pytest.mark.parametrize("shape", [(5, 3, 8, 64), (5, 64, 8), (4, 4)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_singular_values_shrink(shape, dtype, generator):
    x = torch.randn(shape, dtype=dtype, generator=generator)
    threshold = 0.6 * float(torch.linalg.matrix_norm(x, 2).mean())
    u, s, vh = torch.linalg.svd(x, full_matrices=False)
    wanted = (u * (s - threshold).clamp_min(0).unsqueeze(-2)) @ vh
    assert torch.allclose(proximal.singular_soft(x, threshold), wanted, atol=1e-10)


def test_singular_values_of_nothing_and_thresholds_per_matrix():
    x = torch.zeros(2, 6, 3)
    assert torch.equal(proximal.singular_soft(x, 0.5), x)
    x[:, 0, 0] = 2.0
    out = proximal.singular_soft(x, torch.tensor([0.5, 3.0]))
    assert out[0, 0, 0] == pytest.approx(1.5)
    assert not out[1].any()


def test_nuclear_prox_meets_the_subgradient_condition(generator):
    """x - z lies in t times the subdifferential of the nuclear norm at z."""
    x = torch.randn(6, 9, dtype=torch.complex128, generator=generator)
    z = proximal.singular_soft(x, 2.0)
    rest = (x - z) / 2.0
    assert float(torch.linalg.matrix_norm(rest, 2)) <= 1 + 1e-9
    inner = float((rest.conj() * z).sum().real)
    assert inner == pytest.approx(float(torch.linalg.matrix_norm(z, "nuc")), rel=1e-9)
    assert 0 < int(torch.linalg.matrix_rank(z, atol=1e-6)) < 6


def test_ball_is_the_dual_of_the_group(generator):
    x = torch.randn(20, 4, dtype=torch.complex128, generator=generator)
    assert torch.allclose(proximal.group_soft(x, 0.7, -1) + proximal.within_ball(x, 0.7, -1), x)
    assert torch.allclose(proximal.soft(x, 0.7) + proximal.within_ball(x, 0.7), x)
