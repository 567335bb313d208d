"""Learned steps of a regulariser: what an unrolled network adds to the data's own step."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_APPLY = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
_APPLY_TRANSPOSED = {
    1: functional.conv_transpose1d,
    2: functional.conv_transpose2d,
    3: functional.conv_transpose3d,
}


class Regularizer(nn.Module, ABC):
    """D(v) - v of a denoiser D, from scaled unknowns and what else is known of their errors.

    Subclasses are final.
    """

    @abstractmethod
    def forward(self, state: Tensor, context: Tensor, memory: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The change of the unknowns.

        Args:
            state: (slice, row, *voxels) of about unit size.
            context: (slice, channel, *voxels) about the errors of ``state``.
            memory: what the step before has left for this one, or None.

        Returns:
            the change, shaped like ``state`` but for extra channels, and the memory for the next step.
        """


class ResidualCNN(Regularizer):
    """Convolutions 3x3 on voxels folded into channels, so that they see far at a quarter of the cost.

    Args:
        rows: of the unknowns.
        context: channels about their errors.
        extra: channels given out besides the change of the rows.
        width: channels between the convolutions.
        depth: number of convolutions, at least two.
        dimensions: of space.
        fold: voxels along each axis that become channels.
        remembers: the last features come in again at the next step.
    """

    def __init__(
        self,
        rows: int,
        context: int,
        *,
        extra: int = 0,
        width: int = 48,
        depth: int = 5,
        dimensions: int = 2,
        fold: int = 2,
        remembers: bool = True,
    ) -> None:
        super().__init__()
        convolution = CONVOLUTIONS[dimensions]
        self.fold, self.dimensions, self.remembers = fold, dimensions, remembers
        parts = fold**dimensions
        self.first = convolution((rows + context) * parts, width, 3, padding=1)
        self.recall = convolution(width, width, 1, bias=False) if remembers else None
        self.middle = nn.ModuleList(convolution(width, width, 3, padding=1) for _ in range(depth - 2))
        self.last = convolution(width, (rows + extra) * parts, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        assert self.last.bias is not None
        nn.init.zeros_(self.last.bias)

    def forward(self, state: Tensor, context: Tensor, memory: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The change of the unknowns, zero before training."""
        voxels = state.shape[2:]
        x = self.first(folded(torch.cat([state, context], 1), self.fold))
        if memory is not None and self.recall is not None:
            x = x + self.recall(memory)
        x = functional.relu(x)
        for index, layer in enumerate(self.middle):
            y = functional.relu(layer(x))
            x = x + y if index % 2 else y
        return unfolded(self.last(x), self.fold, voxels), x if self.remembers else None


class _Filtered(Regularizer):
    """-Σ_f K_f^T φ_f(K_f v): one gradient step on a potential of filter responses."""

    def __init__(self, rows: int, filters: int, size: int, dimensions: int) -> None:
        super().__init__()
        self.dimensions, self.size = dimensions, size
        self.filters = nn.Parameter(torch.empty(filters, rows, *(size,) * dimensions))
        nn.init.normal_(self.filters, std=1 / math.sqrt(rows * size**dimensions))

    @abstractmethod
    def activation(self, responses: Tensor) -> Tensor:
        """φ of responses (slice, filter, *voxels)."""

    def forward(self, state: Tensor, context: Tensor, memory: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The change of the unknowns; filters have no mean, so that a constant is no change."""
        axes = tuple(range(2, self.filters.ndim))
        filters = self.filters - self.filters.mean(axes, keepdim=True)
        edge = self.size // 2
        padded = functional.pad(state, (edge, edge) * self.dimensions, mode="replicate")
        responses = self.activation(_APPLY[self.dimensions](padded, filters))
        back = _APPLY_TRANSPOSED[self.dimensions](responses, filters)
        for axis in range(2, state.ndim):
            back = back.narrow(axis, edge, state.shape[axis])
        return -back, None


class TotalVariationLike(_Filtered):
    """Learned filters under a smoothed l1: φ(r) = w r/√(r² + ε²), w and ε learned for each filter.

    Args:
        rows: of the unknowns.
        filters: number.
        size: side of a filter.
        dimensions: of space.
    """

    def __init__(self, rows: int, *, filters: int = 24, size: int = 3, dimensions: int = 2) -> None:
        super().__init__(rows, filters, size, dimensions)
        self.weight = nn.Parameter(torch.full((filters,), -4.0))
        self.epsilon = nn.Parameter(torch.full((filters,), -3.0))

    def activation(self, responses: Tensor) -> Tensor:
        """w r/√(r² + ε²)."""
        shape = (-1, *(1,) * self.dimensions)
        weight, epsilon = self.weight.exp().view(shape), self.epsilon.exp().view(shape)
        return weight * responses * torch.rsqrt(responses.square() + epsilon.square())


class FieldsOfExperts(_Filtered):
    """Learned filters under activations of their own, sums of Gaussians.

    Source: Roth 2009; with learned activations Chen 2017.

    Args:
        rows: of the unknowns.
        filters: number.
        size: side of a filter.
        dimensions: of space.
        centres: Gaussians of an activation.
        reach: they lie from -reach to reach.
    """

    def __init__(
        self,
        rows: int,
        *,
        filters: int = 24,
        size: int = 5,
        dimensions: int = 2,
        centres: int = 15,
        reach: float = 1.5,
    ) -> None:
        super().__init__(rows, filters, size, dimensions)
        position = torch.linspace(-reach, reach, centres)
        self.spread = 2 * reach / (centres - 1)
        self.register_buffer("position", position)
        self.weights = nn.Parameter(0.01 * position.repeat(filters, 1))

    position: Tensor

    def activation(self, responses: Tensor) -> Tensor:
        """Σ_j w_j exp(-(r - c_j)²/2s²)."""
        shape = (-1, *(1,) * self.dimensions)
        total = torch.zeros_like(responses)
        for weight, centre in zip(self.weights.unbind(1), self.position, strict=True):
            bump = torch.exp(-0.5 * ((responses - centre) / self.spread).square())
            total = total + weight.view(shape) * bump
        return total


def folded(x: Tensor, fold: int) -> Tensor:
    """(slice, channel, *voxels) -> (slice, channel * fold^d, *voxels/fold), the rim repeated to fill the last fold."""
    dimensions = x.ndim - 2
    missing = [-side % fold for side in x.shape[2:]]
    if any(missing):
        pads = [p for m in reversed(missing) for p in (0, m)]
        x = functional.pad(x, pads, mode="replicate")
    if dimensions == 2:
        return functional.pixel_unshuffle(x, fold)
    shape = [n for side in x.shape[2:] for n in (side // fold, fold)]
    split = x.reshape(*x.shape[:2], *shape)
    order = [0, 1, *range(3, split.ndim, 2), *range(2, split.ndim, 2)]
    return split.permute(order).flatten(1, 1 + dimensions)


def unfolded(x: Tensor, fold: int, voxels: tuple[int, ...]) -> Tensor:
    """The reverse of `folded`, cut to ``voxels``."""
    dimensions = x.ndim - 2
    if dimensions == 2:
        x = functional.pixel_shuffle(x, fold)
    else:
        split = x.unflatten(1, (-1, *(fold,) * dimensions))
        order = [0, 1, *(a for i in range(dimensions) for a in (2 + dimensions + i, 2 + i))]
        split = split.permute(order)
        x = split.reshape(*split.shape[:2], *(n * fold for n in x.shape[2:]))
    for axis, side in enumerate(voxels, 2):
        x = x.narrow(axis, 0, side)
    return x
