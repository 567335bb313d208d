"""The unrolled dipole inversion against the operators of the physics."""

from __future__ import annotations

import pytest
import torch

from fastqmri.core import PlausibilityError
from fastqmri.learning.networks.dipole import AS_PUBLISHED, STEP_BOUND, FieldInput, UnrolledDipole
from fastqmri.physics.encoding import Dipole, dipole_and_rest, dipole_kernel

SIDES = (10, 12, 9)
WIDE = (20, 24, 18)
TILTED = (0.1, -0.2, 1.0)


def _given(start: torch.Tensor | None = None) -> FieldInput:
    generator = torch.Generator().manual_seed(1)
    mask = torch.zeros(1, *SIDES, dtype=torch.float64)
    mask[:, 2:8, 2:9, 1:8] = 1
    field = torch.randn(1, *SIDES, generator=generator, dtype=torch.float64) * mask
    deviation = (0.5 + torch.rand(1, *SIDES, generator=generator, dtype=torch.float64)) * mask
    kernel = dipole_kernel(WIDE, (1, 1, 1.4), TILTED, dtype=torch.float64)[None]
    return FieldInput(field, mask, deviation, mask * 0 if start is None else start, kernel, WIDE)


def test_without_its_cnn_it_is_gradient_descent_on_the_misfit() -> None:
    given = _given()
    network = UnrolledDipole(iterations=2, step=0.7, rest=False, width=4, blocks=1).double()
    operator = Dipole(SIDES, (1, 1, 1.4), TILTED, padding=2.0, dtype=torch.float64)
    chi = torch.zeros(SIDES, dtype=torch.float64, requires_grad=True)
    for _ in range(2):
        away = operator(chi) - given.field[0]
        energy = 0.5 * (given.weight[0] * away.square()).sum()
        (slope,) = torch.autograd.grad(energy, chi)
        chi = ((chi - 0.7 * slope) * given.mask[0]).detach().requires_grad_()
    assert torch.allclose(network(given)[0, 0], chi.detach(), atol=1e-12)
    assert not bool(network(given)[0, 1].any())


def test_split_adds_up_to_the_field() -> None:
    given = _given()
    cone, direct = given.split(given.field)
    # cone + D direct is the field where nothing is cut off
    wide = FieldInput(given.field, given.mask, given.deviation, given.start, given.kernel, WIDE)
    padded = torch.zeros(1, *WIDE, dtype=torch.float64)
    padded[:, : SIDES[0], : SIDES[1], : SIDES[2]] = given.field
    whole = wide.split(padded)
    assert torch.allclose(whole[0] + wide.dipoles(whole[1]), padded, atol=1e-12)
    assert torch.allclose(whole[0][:, : SIDES[0], : SIDES[1], : SIDES[2]], cone, atol=1e-12)
    assert torch.allclose(whole[1][:, : SIDES[0], : SIDES[1], : SIDES[2]], direct, atol=1e-12)


def test_step_bound_is_that_of_the_operator() -> None:
    operator = dipole_and_rest(Dipole((8, 8, 8), (1, 1, 1), dtype=torch.float64))
    generator = torch.Generator().manual_seed(0)
    # waves along B0 have the largest field, D = -2/3
    wave = torch.cos(torch.arange(8, dtype=torch.float64) * torch.pi / 2).expand(8, 8, 8)
    worst = torch.stack([-2 / 3 * wave, wave])
    gain = float(operator(worst).square().sum() / worst.square().sum())
    assert gain == pytest.approx(2 / STEP_BOUND, rel=1e-12)
    x = torch.randn(50, 2, 8, 8, 8, dtype=torch.float64, generator=generator)
    for _ in range(3):  # towards what grows most
        x = operator.H(operator(x))
    gains = operator(x).flatten(1).square().sum(1) / x.flatten(1).square().sum(1)
    assert float(gains.max()) <= 2 / STEP_BOUND * (1 + 1e-12)


@pytest.mark.parametrize("step", [0.0, 1.5, 2.0])
def test_unstable_steps_are_refused_and_the_published_one_is_not(step) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(PlausibilityError):
        UnrolledDipole(step=step)
    assert float(UnrolledDipole(step=AS_PUBLISHED, width=4, blocks=1).step.detach()) == 4


def test_nothing_leaves_the_mask() -> None:
    torch.manual_seed(0)
    network = UnrolledDipole(width=4, blocks=1).double()
    with torch.no_grad():
        network.network.leave[1].weight.normal_()
    given = _given()
    found = network(given)
    assert not bool(found[:, :, given.mask[0] == 0].any())
    assert bool(found[:, :, given.mask[0] > 0].all())
