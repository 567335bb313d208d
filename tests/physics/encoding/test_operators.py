"""Every operator passes every check, and the checks object to what is wrong."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fastqmri.core import ShapeError
from fastqmri.physics.encoding import (
    CartesianEncoding,
    Fourier,
    Identity,
    LinearOperator,
    Sensitivities,
    Zero,
)
from physics.encoding import checks
from physics.encoding.registry import CASES

DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
EVERY = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@EVERY
@DTYPES
@pytest.mark.parametrize("check", checks.CHECKS, ids=lambda check: check.__name__)
def test_operator(check, case: checks.OperatorCase, dtype: torch.dtype, generator: torch.Generator):
    check(case, case.build(generator, dtype), dtype, generator)


@pytest.mark.parametrize("case", [c for c in CASES if c.batches], ids=lambda case: case.name)
@DTYPES
def test_batch_equals_loop(case: checks.OperatorCase, dtype: torch.dtype, generator: torch.Generator):
    checks.check_batch(case, case.build(generator, dtype), dtype, generator)


@EVERY
def test_precisions_agree(case: checks.OperatorCase, generator: torch.Generator):
    checks.check_precision(case, generator)


class _WithoutConjugate(LinearOperator):
    """A coil operator whose adjoint forgot to conjugate."""

    def __init__(self, maps: Tensor) -> None:
        super().__init__()
        self.maps = maps

    def forward(self, x: Tensor) -> Tensor:
        return x * self.maps

    adjoint = forward


class _HalfDetached(LinearOperator):
    """Right as an operator, but its derivative is half of it."""

    def forward(self, x: Tensor) -> Tensor:
        return x + x.detach()

    def adjoint(self, y: Tensor) -> Tensor:
        return 2 * y


@pytest.mark.parametrize(
    ("check", "faulty"),
    [(checks.check_adjoint, _WithoutConjugate), (checks.check_derivatives, _HalfDetached)],
)
def test_checks_object(check, faulty: type[LinearOperator], generator: torch.Generator):
    maps = torch.randn(4, 5, dtype=torch.complex128, generator=generator)
    operator = faulty(maps) if faulty is _WithoutConjugate else faulty()
    case = checks.OperatorCase("faulty", lambda g, d: operator, (2, 4, 5), (2, 4, 5))
    with pytest.raises(AssertionError):
        check(case, operator, torch.float64, generator)


def test_fourier_is_the_sum_in_its_docstring(generator: torch.Generator):
    x = torch.randn(5, 8, dtype=torch.complex128, generator=generator)
    wanted = x
    for axis, side in enumerate(x.shape):
        n = torch.arange(side, dtype=torch.float64) - side // 2
        matrix = torch.exp(-2j * torch.pi * n[:, None] * n / side) / side**0.5
        wanted = torch.tensordot(matrix, wanted, dims=([1], [axis])).movedim(0, axis)
    checks.close(Fourier(2)(x), wanted, 1e-13)


def test_neutral_elements(generator: torch.Generator):
    x = torch.randn(2, 5, 8, dtype=torch.complex128, generator=generator)
    fourier = Fourier(2)
    assert (fourier @ Identity()) is fourier
    assert (Identity() @ fourier) is fourier
    assert (fourier + Zero()) is fourier
    assert (Zero() + fourier) is fourier
    assert torch.equal((fourier @ Zero())(x), torch.zeros_like(x))
    assert torch.equal(sum([fourier, fourier])(x), 2 * fourier(x))
    assert torch.equal((-fourier)(x), -fourier(x))


def test_full_sampling_with_normalised_coils_is_undone_by_the_adjoint(generator: torch.Generator):
    maps = torch.randn(3, 5, 8, dtype=torch.complex128, generator=generator)
    maps = maps / (maps.abs() ** 2).sum(0).sqrt()
    encoding = CartesianEncoding(maps, torch.ones(1, 1, 1, dtype=torch.bool))
    x = torch.randn(2, 5, 8, dtype=torch.complex128, generator=generator)
    checks.close(encoding.adjoint(encoding(x)), x, 1e-13)
    checks.close(encoding.gram(x), x, 1e-13)


def test_coil_maps_can_be_learned(generator: torch.Generator):
    """Derivatives by what an operator is made of hold too."""
    maps = torch.randn(3, 4, 5, dtype=torch.complex128, generator=generator, requires_grad=True)
    x = torch.randn(1, 4, 5, dtype=torch.complex128, generator=generator)
    assert torch.autograd.gradcheck(lambda m: Sensitivities(m, 2)(x), maps)


def test_wrong_shapes_are_named():
    maps = torch.ones(3, 4, 5, dtype=torch.complex64)
    encoding = CartesianEncoding(maps, torch.ones(2, 4, 5, dtype=torch.bool))
    with pytest.raises(ShapeError, match="3 coil maps"):
        encoding.coils.adjoint(torch.ones(2, 4, 4, 5, dtype=torch.complex64))
    with pytest.raises(ShapeError, match="images of"):
        encoding(torch.ones(2, 4, 6, dtype=torch.complex64))
    with pytest.raises(ShapeError, match="sampling mask"):
        CartesianEncoding(maps, torch.ones(2, 4, 6, dtype=torch.bool))
    with pytest.raises(ShapeError, match="last axes"):
        Sensitivities(maps, 2) @ Sensitivities(torch.ones(2, 4, 6, dtype=torch.complex64), 2)
