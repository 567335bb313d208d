"""What a network is to make small: errors of labels, images and k-space, total variation, and their balance.

Terms are means, so that they do not grow with batch and matrix. Maps are (batch, parameter, *voxels), real or complex.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, final

import torch
from torch import Tensor, nn

from fastqmri.core import PlausibilityError, ShapeError, UnknownNameError


def label_loss(
    estimate: Tensor, truth: Tensor, scale: Tensor, mask: Tensor | None = None, *, squared: bool = True
) -> Tensor:
    """||(x^ - x) / scale||² / (parameters times voxels), or its root.

    Source: Zhu 2023, Eq. (10), first term, and (11), on normalised maps.

    Args:
        estimate: x^, (batch, parameter, *voxels).
        truth: x, of the same shape.
        scale: (parameter), what counts as one in each map.
        mask: (batch, *voxels) bool, voxels that count; all if None.
        squared: without, the root.

    Raises:
        ShapeError: maps of different shapes.
    """
    _same(estimate, truth)
    error = (estimate - truth) / scale.to(estimate.real.dtype).view(-1, *(1,) * (estimate.ndim - 2))
    value = _mean_square(error, mask)
    return value if squared else (value + 1e-24).sqrt()


def image_loss(estimate: Tensor, images: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean of |A(x^) - rho|² over contrasts and voxels.

    Source: Zhu 2023, Eqs. (10), second term, and (13).

    Args:
        estimate: A(x^), (batch, contrast, *voxels).
        images: rho, of the same shape.
        mask: (batch, *voxels) bool, voxels that count; all if None.

    Raises:
        ShapeError: images of different shapes.
    """
    _same(estimate, images)
    return _mean_square(estimate - images, mask)


def kspace_loss(
    estimate: Tensor,
    kspace: Tensor,
    encoding: Callable[[Tensor], Tensor],
    samples: Tensor | float | None = None,
) -> Tensor:
    """||E A(x^) - y||² / samples.

    Source: Zhu 2023, Eqs. (10) to (12), second term.

    Args:
        estimate: A(x^), as the encoding takes it.
        kspace: y, as the encoding gives it.
        encoding: E, a `LinearOperator` or a `BatchedEncoding`.
        samples: how many were measured; those of y that are not zero if None.

    Raises:
        ShapeError: k-space of another shape than the encoding gives.
    """
    synthetic = encoding(estimate)
    _same(synthetic, kspace)
    count = (kspace != 0).sum().clamp_min(1) if samples is None else samples
    return _square(synthetic - kspace).sum() / count


def total_variation(
    maps: Tensor, mask: Tensor | None = None, *, isotropic: bool = False, epsilon: float = 1e-6
) -> Tensor:
    """Mean over maps and voxels of sum over axes of (|d x|² + epsilon)^(1/2) - epsilon^(1/2).

    Source: Zhu 2023, Eq. (12), the regularisation R.

    Args:
        maps: (batch, parameter, *voxels), normalised.
        mask: (batch, *voxels) bool; differences count between two voxels inside. All if None.
        isotropic: the root of the sum over axes instead of the sum of the roots, where all neighbours exist.
        epsilon: rounds the corner at zero.
    """
    axes = range(2, maps.ndim)
    squares = [_square(maps.diff(dim=axis)) for axis in axes]
    inside = torch.ones_like(maps[:, 0].real, dtype=torch.bool) if mask is None else mask
    pairs = [
        inside.narrow(a - 1, 0, inside.shape[a - 1] - 1) & inside.narrow(a - 1, 1, inside.shape[a - 1] - 1)
        for a in axes
    ]
    if isotropic:
        squares = [torch.stack([_without_rim(s, maps) for s in squares]).sum(0)]
        pairs = [torch.stack([_without_rim(p, maps) for p in pairs]).all(0)]
    total = maps.real.new_zeros(())
    for square, pair in zip(squares, pairs, strict=True):
        total = total + (((square + epsilon).sqrt() - epsilon**0.5) * pair[:, None]).sum()
    return total / (inside.sum().clamp_min(1) * maps.shape[1])


@final
class Balanced(nn.Module):
    """Terms of a loss in proportions that are asked for: each is divided by its own size.

    The sizes are part of the state, so training that goes on from a checkpoint goes on as it would have. Nothing is
    learned from terms in evaluation mode.

    Args:
        shares: term -> its weight after the division.
        mode: ``initial`` divides by the first value of a term, ``running`` by an average over the last ones.
        momentum: of the running average.

    Raises:
        PlausibilityError: a negative weight, or a momentum outside 0 to 1.
    """

    def __init__(
        self,
        shares: Mapping[str, float],
        mode: Literal["initial", "running"] = "initial",
        momentum: float = 0.99,
    ) -> None:
        super().__init__()
        if min(shares.values(), default=0.0) < 0 or not 0 <= momentum < 1:
            raise PlausibilityError(
                f"weights {dict(shares)} with momentum {momentum:g}",
                "weights are not negative, the momentum lies below one.",
                "Give relative weights, and 0.9 to 0.999.",
            )
        self.shares, self.mode, self.momentum = dict(shares), mode, momentum
        self.register_buffer("size", torch.zeros(len(shares), dtype=torch.float64))
        self.register_buffer("seen", torch.zeros(len(shares), dtype=torch.int64))

    size: Tensor
    seen: Tensor

    def forward(self, terms: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The terms that are there, divided by their sizes and weighted.

        Raises:
            UnknownNameError: a term without a weight.
        """
        balanced = {}
        for name, value in terms.items():
            if name not in self.shares:
                raise UnknownNameError(
                    f"term {name!r} of a loss", "it has no weight.", f"Use {', '.join(self.shares)}."
                )
            row = list(self.shares).index(name)
            if self.training:
                self._learn(row, value.detach())
            balanced[name] = value * (self.shares[name] / self._size(row)).to(value)
        return balanced

    def _learn(self, row: int, value: Tensor) -> None:
        value = value.double().abs()
        if self.mode == "running":
            self.size[row] = self.momentum * self.size[row] + (1 - self.momentum) * value
        elif not int(self.seen[row]):
            self.size[row] = value
        self.seen[row] += 1

    def _size(self, row: int) -> Tensor:
        """What to divide by; one for a term that was never seen or was nothing."""
        size = self.size[row]
        if self.mode == "running" and int(self.seen[row]):
            size = size / (1 - self.momentum ** int(self.seen[row]))
        return torch.where(size > 1e-30, size, 1.0)


def _square(x: Tensor) -> Tensor:
    """|x|², with a gradient at zero too."""
    return x.real.square() + x.imag.square() if x.is_complex() else x.square()


def _without_rim(x: Tensor, maps: Tensor) -> Tensor:
    """All but the last place along each axis of the maps' voxels."""
    for axis, side in enumerate(maps.shape[2:], 2 - maps.ndim):
        x = x.narrow(axis, 0, side - 1)
    return x


def _mean_square(error: Tensor, mask: Tensor | None) -> Tensor:
    square = _square(error)
    if mask is None:
        return square.mean()
    return (square * mask[:, None]).sum() / (mask.sum().clamp_min(1) * error.shape[1])


def _same(one: Tensor, other: Tensor) -> None:
    if one.shape != other.shape:
        raise ShapeError(
            f"{tuple(one.shape)} compared with {tuple(other.shape)}",
            "broadcasting would count some numbers several times.",
            "Give both the same axes: batch first, then parameters or contrasts.",
        )
