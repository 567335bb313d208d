"""What every operator must pass, and what a case of one is.

The checks are plain functions that raise AssertionError, so that other tests can hand them a faulty operator and expect
them to object.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from fastqmri.physics.encoding import LinearOperator

Build = Callable[[torch.Generator, torch.dtype], LinearOperator]


@dataclass(frozen=True)
class OperatorCase:
    """One operator under test.

    Attributes:
        name: for the test's id.
        build: makes the operator; the dtype is the real one (float32 or float64).
        domain: whole shape of what it takes, contrasts included; odd and unequal sides.
        range: whole shape of what it gives.
        takes_complex: whether it takes complex tensors; else real ones.
        gives_complex: whether it gives complex tensors.
        tolerance: relative, (float32, float64); looser only where an approximation is part of the operator.
        batches: whether it takes axes before ``domain``.
    """

    name: str
    build: Build
    domain: tuple[int, ...]
    range: tuple[int, ...]
    takes_complex: bool = True
    gives_complex: bool = True
    tolerance: tuple[float, float] = (1e-5, 1e-10)
    batches: bool = True

    def limit(self, dtype: torch.dtype) -> float:
        return self.tolerance[0 if dtype == torch.float32 else 1]


def draw(
    shape: tuple[int, ...], dtype: torch.dtype, generator: torch.Generator, *, as_complex: bool
) -> Tensor:
    if as_complex:
        dtype = torch.complex64 if dtype == torch.float32 else torch.complex128
    return torch.randn(shape, dtype=dtype, generator=generator)


def pair(
    case: OperatorCase, dtype: torch.dtype, generator: torch.Generator, batch: tuple[int, ...] = ()
) -> tuple[Tensor, Tensor]:
    """A vector of the domain and one of the range."""
    x = draw(batch + case.domain, dtype, generator, as_complex=case.takes_complex)
    y = draw(batch + case.range, dtype, generator, as_complex=case.gives_complex)
    return x, y


def inner(a: Tensor, b: Tensor) -> Tensor:
    return (a.conj() * b).sum()


def close(got: Tensor, wanted: Tensor, limit: float) -> None:
    assert got.shape == wanted.shape, f"{tuple(got.shape)}, not {tuple(wanted.shape)}"
    tiny = torch.finfo(wanted.dtype).tiny
    error = float((got - wanted).detach().norm() / wanted.detach().norm().clamp_min(tiny))
    assert error <= limit, f"relative difference {error:.2g}, allowed {limit:.2g}"


def check_shapes(
    case: OperatorCase, operator: LinearOperator, dtype: torch.dtype, g: torch.Generator
) -> None:
    x, y = pair(case, dtype, g)
    forward, back = operator(x), operator.adjoint(y)
    assert tuple(forward.shape) == case.range
    assert tuple(back.shape) == case.domain
    assert forward.is_complex() == case.gives_complex
    assert back.is_complex() == case.takes_complex
    assert forward.real.dtype == back.real.dtype == dtype


def check_adjoint(
    case: OperatorCase, operator: LinearOperator, dtype: torch.dtype, g: torch.Generator
) -> None:
    """<A x, y> = <x, A^H y>, the scalars complex where the spaces are."""
    x, y = pair(case, dtype, g)
    image, back = operator(x), operator.adjoint(y)
    left, right = inner(image, y), inner(x, back)
    if not (case.takes_complex and case.gives_complex):
        left, right = left.real, right.real
    scale = (image.norm() * y.norm()).clamp_min(torch.finfo(dtype).tiny)
    assert float((left - right).abs() / scale) <= case.limit(dtype), f"{left} is not {right}"


def check_linear(
    case: OperatorCase, operator: LinearOperator, dtype: torch.dtype, g: torch.Generator
) -> None:
    a, _ = pair(case, dtype, g)
    b, _ = pair(case, dtype, g)
    factor = 0.3 - 1.7j if case.takes_complex and case.gives_complex else -1.7
    close(operator(a + factor * b), operator(a) + factor * operator(b), 10 * case.limit(dtype))


def check_gram(case: OperatorCase, operator: LinearOperator, dtype: torch.dtype, g: torch.Generator) -> None:
    x, _ = pair(case, dtype, g)
    close(operator.gram(x), operator.adjoint(operator(x)), 10 * case.limit(dtype))


def check_derivatives(
    case: OperatorCase, operator: LinearOperator, dtype: torch.dtype, g: torch.Generator
) -> None:
    """Reverse mode is the adjoint, forward mode the operator, and the second derivative of half |A x|² is the Gram."""
    x, y = pair(case, dtype, g)
    direction, _ = pair(case, dtype, g)
    limit = 10 * case.limit(dtype)
    for function, at, tangent, cotangent, back in (
        (operator, x, direction, y, operator.adjoint),
        (operator.adjoint, y, operator(direction), x, operator),
    ):
        _, forward_mode = torch.func.jvp(function, (at,), (tangent,))
        close(forward_mode, function(tangent), limit)
        at = at.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(function(at), at, cotangent)
        close(gradient, back(cotangent), limit)
    x = x.clone().requires_grad_()
    energy = 0.5 * operator(x).abs().square().sum()
    (gradient,) = torch.autograd.grad(energy, x, create_graph=True)
    close(gradient, operator.adjoint(operator(x)), limit)
    (second,) = torch.autograd.grad(inner(direction, gradient).real, x)
    close(second, operator.adjoint(operator(direction)), limit)


def check_batch(case: OperatorCase, operator: LinearOperator, dtype: torch.dtype, g: torch.Generator) -> None:
    """Leading axes and `torch.vmap` equal a loop."""
    x, y = pair(case, dtype, g, batch=(3,))
    for function, batch in ((operator, x), (operator.adjoint, y)):
        loop = torch.stack([function(one) for one in batch])
        close(function(batch), loop, 10 * case.limit(dtype))
        close(torch.vmap(function)(batch), loop, 10 * case.limit(dtype))


def check_precision(case: OperatorCase, g: torch.Generator) -> None:
    """Single precision gives what double precision gives."""
    state = g.get_state()
    results = []
    for dtype in (torch.float64, torch.float32):
        g.set_state(state)
        operator = case.build(g, dtype)
        x = draw(case.domain, torch.float64, torch.Generator().manual_seed(1), as_complex=case.takes_complex)
        results.append(
            operator(
                x.to(torch.complex64 if dtype == torch.float32 else torch.complex128)
                if case.takes_complex
                else x.to(dtype)
            )
        )
    close(results[1].to(results[0].dtype), results[0], 10 * case.limit(torch.float32))


def check_copies(
    case: OperatorCase, operator: LinearOperator, dtype: torch.dtype, g: torch.Generator
) -> None:
    x, _ = pair(case, dtype, g)
    assert torch.equal(copy.deepcopy(operator)(x), operator(x))


CHECKS = (check_shapes, check_adjoint, check_linear, check_gram, check_derivatives, check_copies)
