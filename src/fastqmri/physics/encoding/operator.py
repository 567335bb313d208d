"""Linear operators: what they can do, and what can be made of them.

An operator acts on the last axes of a tensor and takes any number of axes before them. ``A @ B``, ``A + B``, ``A - B``,
``c * A``, ``A.H``, ``A.gram`` and `stack` make new operators. Derivatives in reverse mode are the adjoint, in forward
mode the operator itself, to any order.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from fastqmri.core import ShapeError


class _Apply(torch.autograd.Function):
    """An operator or its adjoint, with the other of them as its derivative."""

    @staticmethod
    def forward(x: Tensor, operator: AdjointAsBackward, adjoint: bool) -> Tensor:
        return operator._adjoint(x) if adjoint else operator._forward(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, AdjointAsBackward, bool], output: Tensor) -> None:
        x, ctx.operator, ctx.adjoint = inputs
        ctx.real = not x.is_complex()
        ctx.real_output = not output.is_complex()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        back = _Apply.apply(gradient, ctx.operator, not ctx.adjoint)
        return (back.real if ctx.real and back.is_complex() else back), None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: None) -> Tensor:
        out = _Apply.apply(tangent, ctx.operator, ctx.adjoint)
        return out.real if ctx.real_output and out.is_complex() else out

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], x: Tensor, operator: AdjointAsBackward, adjoint: bool
    ) -> tuple[Tensor, int]:
        assert in_dims[0] is not None
        return _Apply.apply(x.movedim(in_dims[0], 0), operator, adjoint), 0


class LinearOperator(nn.Module, ABC):
    """E in y = E A(x, t): a linear map with its adjoint.

    Subclasses are final and write `forward` and `adjoint` with PyTorch, whose derivatives then hold, also by what the
    operator is made of (coil sensitivities). Those that use anything else are subclasses of `AdjointAsBackward`.

    Attributes:
        domain: shape of the last axes of what `forward` takes, or None where any will do.
        range: shape of the last axes of what `forward` gives, or None.
    """

    domain: tuple[int, ...] | None = None
    range: tuple[int, ...] | None = None

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """The operator applied to ``x``, (..., *domain) -> (..., *range)."""

    @abstractmethod
    def adjoint(self, y: Tensor) -> Tensor:
        """The adjoint applied to ``y``, (..., *range) -> (..., *domain)."""

    def zero_filled(self, y: Tensor) -> Tensor:
        """An image of samples, taking what was not measured for zero: the adjoint.

        Samples that lie closer in some places than in others count with the part of k-space each stands for.
        """
        return self.adjoint(y)

    @property
    def H(self) -> LinearOperator:
        """The adjoint."""
        return Adjoint(self)

    @property
    def gram(self) -> LinearOperator:
        """``self.H @ self``; operators override it where that is cheaper as a whole."""
        return self.H @ self

    def __matmul__(self, other: LinearOperator) -> LinearOperator:
        """First ``other``, then this."""
        if isinstance(other, Identity):
            return self
        if isinstance(other, Zero):
            return other
        return Composition(self, other)

    def __add__(self, other: LinearOperator | complex | Tensor) -> LinearOperator:
        """The sum of both; a number stands for that multiple of the identity."""
        if not isinstance(other, LinearOperator):
            other = other * Identity()
        return self if isinstance(other, Zero) else Sum(self, other)

    def __radd__(self, other: complex | Tensor) -> LinearOperator:
        """The same with a number in front; zero makes Python's ``sum`` work."""
        return self if isinstance(other, int) and other == 0 else self + other

    def __sub__(self, other: LinearOperator) -> LinearOperator:
        """The difference of both."""
        return self + (-1) * other

    def __mul__(self, scalar: complex | Tensor) -> LinearOperator:
        """This, then multiplied by a number."""
        return Scaled(self, scalar)

    __rmul__ = __mul__

    def __neg__(self) -> LinearOperator:
        """The negative."""
        return (-1) * self


class AdjointAsBackward(LinearOperator):
    """An operator written with anything: the derivative of it is its adjoint, and the reverse, to any order.

    Subclasses write ``_forward`` and ``_adjoint``, shaped like `forward` and `adjoint`.
    """

    @abstractmethod
    def _forward(self, x: Tensor) -> Tensor: ...

    @abstractmethod
    def _adjoint(self, y: Tensor) -> Tensor: ...

    def forward(self, x: Tensor) -> Tensor:
        """The operator applied to ``x``."""
        return _Apply.apply(x, self, False)

    def adjoint(self, y: Tensor) -> Tensor:
        """The adjoint applied to ``y``."""
        return _Apply.apply(y, self, True)


class Identity(LinearOperator):
    """The neutral element of ``@``."""

    def forward(self, x: Tensor) -> Tensor:
        """``x``."""
        return x

    def adjoint(self, y: Tensor) -> Tensor:
        """``y``."""
        return y

    @property
    def H(self) -> LinearOperator:
        """Itself."""
        return self

    @property
    def gram(self) -> LinearOperator:
        """Itself."""
        return self

    def __matmul__(self, other: LinearOperator) -> LinearOperator:
        """``other``."""
        return other


class Zero(AdjointAsBackward):
    """The neutral element of ``+``, on tensors of one shape."""

    def _forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)

    def _adjoint(self, y: Tensor) -> Tensor:
        return torch.zeros_like(y)

    @property
    def H(self) -> LinearOperator:
        """Itself."""
        return self

    def __matmul__(self, other: LinearOperator) -> LinearOperator:
        """Zero."""
        return self

    def __add__(self, other: LinearOperator | complex | Tensor) -> LinearOperator:
        """``other``."""
        return other if isinstance(other, LinearOperator) else other * Identity()


class Adjoint(LinearOperator):
    """The adjoint of an operator."""

    def __init__(self, of: LinearOperator) -> None:
        super().__init__()
        self.of = of
        self.domain, self.range = of.range, of.domain

    def forward(self, x: Tensor) -> Tensor:
        """The operator's `adjoint`."""
        return self.of.adjoint(x)

    def adjoint(self, y: Tensor) -> Tensor:
        """The operator itself."""
        return self.of(y)

    @property
    def H(self) -> LinearOperator:
        """The operator this is the adjoint of."""
        return self.of


class Composition(LinearOperator):
    """``outer`` after ``inner``.

    Raises:
        ShapeError: the last axes of what ``inner`` gives are not those that ``outer`` takes.
    """

    def __init__(self, outer: LinearOperator, inner: LinearOperator) -> None:
        super().__init__()
        if outer.domain is not None and inner.range is not None:
            axes = min(len(outer.domain), len(inner.range))
            if outer.domain[len(outer.domain) - axes :] != inner.range[len(inner.range) - axes :]:
                raise ShapeError(
                    f"{type(outer).__name__} of {outer.domain} after {type(inner).__name__}, which gives {inner.range}",
                    "their last axes do not belong together.",
                    "Build both for the same matrix.",
                )
        self.outer, self.inner = outer, inner
        self.domain = _before(inner.range, inner.domain, outer.domain)
        self.range = _before(outer.domain, outer.range, inner.range)

    def forward(self, x: Tensor) -> Tensor:
        """``outer(inner(x))``."""
        return self.outer(self.inner(x))

    def adjoint(self, y: Tensor) -> Tensor:
        """The adjoint of ``inner`` after that of ``outer``."""
        return self.inner.adjoint(self.outer.adjoint(y))

    def zero_filled(self, y: Tensor) -> Tensor:
        """That of ``inner`` after that of ``outer``."""
        return self.inner.zero_filled(self.outer.zero_filled(y))

    @property
    def gram(self) -> LinearOperator:
        """The Gram operator of ``outer`` between ``inner`` and its adjoint."""
        return self.inner.H @ self.outer.gram @ self.inner


def _before(
    known: tuple[int, ...] | None, own: tuple[int, ...] | None, longer: tuple[int, ...] | None
) -> tuple[int, ...] | None:
    """``own``, behind those axes that ``longer`` has before ``known``: an operator leaves them alone."""
    if known is None or own is None or longer is None or len(longer) <= len(known):
        return own
    return longer[: len(longer) - len(known)] + own


class Sum(LinearOperator):
    """``first`` + ``second``."""

    def __init__(self, first: LinearOperator, second: LinearOperator) -> None:
        super().__init__()
        self.first, self.second = first, second
        self.domain = first.domain or second.domain
        self.range = first.range or second.range

    def forward(self, x: Tensor) -> Tensor:
        """The sum of both."""
        return self.first(x) + self.second(x)

    def adjoint(self, y: Tensor) -> Tensor:
        """The sum of both adjoints."""
        return self.first.adjoint(y) + self.second.adjoint(y)


class Scaled(LinearOperator):
    """An operator, its result multiplied by a number."""

    def __init__(self, of: LinearOperator, scalar: complex | Tensor) -> None:
        super().__init__()
        self.of, self.scalar = of, scalar
        self.domain, self.range = of.domain, of.range

    def forward(self, x: Tensor) -> Tensor:
        """The scaled result."""
        return self.scalar * self.of(x)

    def adjoint(self, y: Tensor) -> Tensor:
        """The adjoint's result, scaled by the conjugate."""
        return self.of.adjoint(_conjugate(self.scalar) * y)


def _conjugate(scalar: complex | Tensor) -> complex | Tensor:
    return scalar.conj() if isinstance(scalar, Tensor) else scalar.conjugate()


class Stack(LinearOperator):
    """Several operators on the same input, their results side by side on a new axis.

    The new axis comes ``axis`` places before the end of each result (1: the last axis), so that axes before it stay
    free. All results have one shape.

    Raises:
        ShapeError: no operator at all.
    """

    def __init__(self, operators: tuple[LinearOperator, ...], axis: int) -> None:
        super().__init__()
        if not operators:
            raise ShapeError("a stack of no operators", "it has no shape.", "Give at least one.")
        self.operators = nn.ModuleList(operators)
        self.axis = axis
        self.domain = operators[0].domain

    def forward(self, x: Tensor) -> Tensor:
        """(..., *domain) -> (..., operator, *range)."""
        return torch.stack([operator(x) for operator in self.operators], -self.axis)

    def adjoint(self, y: Tensor) -> Tensor:
        """(..., operator, *range) -> (..., *domain)."""
        parts = y.unbind(-self.axis)
        return sum(  # type: ignore[return-value]
            operator.adjoint(part)  # type: ignore[operator]
            for operator, part in zip(self.operators, parts, strict=True)
        )

    @property
    def gram(self) -> LinearOperator:
        """The sum of the Gram operators."""
        return sum(operator.gram for operator in self.operators)  # type: ignore[return-value,misc]


def stack(*operators: LinearOperator, axis: int) -> LinearOperator:
    """Operators on the same input; see `Stack`."""
    return Stack(operators, axis)
