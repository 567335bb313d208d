"""Values with their first derivatives along: formulas written once give signal and Jacobian."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Jet:
    """A quantity and its derivatives by some parameters.

    Attributes:
        value: (*shape).
        slope: (tangent, *shape), or what broadcasts to it.
    """

    value: Tensor
    slope: Tensor

    def __add__(self, other: Quantity | float) -> Jet:
        if isinstance(other, Jet):
            return Jet(self.value + other.value, self.slope + other.slope)
        return Jet(self.value + other, self.slope)

    __radd__ = __add__

    def __neg__(self) -> Jet:
        return Jet(-self.value, -self.slope)

    def __sub__(self, other: Quantity | float) -> Jet:
        return self + -other

    def __rsub__(self, other: Tensor | float) -> Jet:
        return -self + other

    def __mul__(self, other: Quantity | float) -> Jet:
        if isinstance(other, Jet):
            return Jet(self.value * other.value, self.slope * other.value + self.value * other.slope)
        return Jet(self.value * other, self.slope * other)

    __rmul__ = __mul__

    def __truediv__(self, other: Quantity | float) -> Jet:
        if isinstance(other, Jet):
            ratio = self.value / other.value
            return Jet(ratio, (self.slope - ratio * other.slope) / other.value)
        return Jet(self.value / other, self.slope / other)

    def __rtruediv__(self, other: Tensor | float) -> Jet:
        ratio = other / self.value
        return Jet(ratio, -ratio / self.value * self.slope)

    def chain(self, value: Tensor, derivative: Tensor) -> Jet:
        """A function of this quantity, from its value and its derivative."""
        return Jet(value, derivative * self.slope)


Quantity = Tensor | Jet


def seeds(x: Tensor) -> list[Jet]:
    """Every row of x (parameter, *voxels) as a jet of shape (1, *voxels), its tangents those of all rows."""
    count = len(x)
    unit = torch.eye(count, dtype=x.dtype, device=x.device).view(count, count, *(1,) * x.ndim)
    return [Jet(x[i : i + 1], unit[:, i]) for i in range(count)]


def exp(a: Quantity) -> Quantity:
    """e to the power of a."""
    value = torch.exp(a.value if isinstance(a, Jet) else a)
    return a.chain(value, value) if isinstance(a, Jet) else value


def expm1(a: Quantity) -> Quantity:
    """e to the power of a, less one."""
    if isinstance(a, Jet):
        value = torch.expm1(a.value)
        return a.chain(value, value + 1)
    return torch.expm1(a)


def sin(a: Quantity) -> Quantity:
    """Sine."""
    return a.chain(torch.sin(a.value), torch.cos(a.value)) if isinstance(a, Jet) else torch.sin(a)


def cos(a: Quantity) -> Quantity:
    """Cosine."""
    return a.chain(torch.cos(a.value), -torch.sin(a.value)) if isinstance(a, Jet) else torch.cos(a)


def sqrt(a: Quantity) -> Quantity:
    """Square root, of what is positive."""
    if isinstance(a, Jet):
        root = torch.sqrt(a.value)
        return a.chain(root, 0.5 / root)
    return torch.sqrt(a)


def floored(a: Quantity, least: float) -> Quantity:
    """The larger of a and ``least``, where the derivative ends."""
    if isinstance(a, Jet):
        above = a.value > least
        return a.chain(a.value.clamp_min(least), above.to(a.value))
    return a.clamp_min(least)
