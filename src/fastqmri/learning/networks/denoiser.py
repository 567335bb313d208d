"""Convolutional denoisers: residual blocks over planes or volumes, on any number of channels."""

from __future__ import annotations

import itertools
from typing import final

from torch import Tensor, nn

from fastqmri.core import ShapeError


@final
class ResidualBlock(nn.Module):
    """x + conv(relu(conv(x))), each convolution of three voxels a side, normalised in groups or not at all.

    Args:
        width: channels.
        groups: of channels that are normalised together over all voxels; 0 for none.
        dropout: share of channels set to zero between the convolutions, in training.
        dimensions: 2 or 3.
    """

    def __init__(self, width: int, *, groups: int = 0, dropout: float = 0.0, dimensions: int = 3) -> None:
        super().__init__()
        dropped = nn.Dropout3d(dropout) if dimensions == 3 else nn.Dropout2d(dropout)
        parts: list[nn.Module] = []
        for last in (False, True):
            parts.append(_convolution(width, width, dimensions))
            parts += [nn.GroupNorm(groups, width)] if groups else []
            parts += [] if last else [nn.ReLU(), *([dropped] if dropout else [])]
        self.change = nn.Sequential(*parts)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, width, *voxels) -> the same."""
        changed: Tensor = self.change(x)
        return x + changed


@final
class Denoiser(nn.Module):
    """Residual convolutional network, (batch, channels, *voxels) -> (batch, results, *voxels).

    With ``coarse`` of two, blocks of 2 voxels a side become channels on a grid of half the resolution and are spread
    out again at the end: nothing is lost, the field of view of a convolution doubles, and the work is an eighth at
    equal width. Any matrix will do; it is filled up with zeros to whole blocks.

    Source: Zhang 2017 (residual denoising); Zhang 2018 (voxels as channels).

    Args:
        channels: that come in.
        results: channels that go out.
        width: channels between.
        blocks: `ResidualBlock`.
        groups: see `ResidualBlock`; with them the result depends on how much of the matrix is empty.
        dropout: see `ResidualBlock`.
        coarse: voxels a side that become channels; 1 for none.
        dimensions: 2 or 3.
    """

    def __init__(
        self,
        channels: int,
        results: int,
        *,
        width: int = 16,
        blocks: int = 4,
        groups: int = 0,
        dropout: float = 0.0,
        coarse: int = 1,
        dimensions: int = 3,
    ) -> None:
        super().__init__()
        if dimensions not in (2, 3):
            raise ShapeError(
                f"a denoiser of {dimensions} dimensions", "it has planes or volumes.", "Take 2 or 3."
            )
        self.coarse, self.dimensions = coarse, dimensions
        parts = coarse**dimensions
        self.enter = _convolution(channels * parts, width, dimensions)
        self.blocks = nn.Sequential(
            *(
                ResidualBlock(width, groups=groups, dropout=dropout, dimensions=dimensions)
                for _ in range(blocks)
            )
        )
        self.leave = nn.Sequential(nn.ReLU(), _convolution(width, results * parts, dimensions))
        # a network that is added to its input begins by changing nothing
        nn.init.zeros_(self.leave[1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.leave[1].bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Denoise, or tell what to add.

        Raises:
            ShapeError: other than a batch of planes or volumes with channels.
        """
        if x.ndim != self.dimensions + 2:
            raise ShapeError(
                f"a tensor of {tuple(x.shape)} for a denoiser of {self.dimensions} dimensions",
                "it takes (batch, channel, *voxels).",
                "Reshape it.",
            )
        sides = x.shape[2:]
        over = [-side % self.coarse for side in sides]
        padded = nn.functional.pad(x, list(itertools.chain(*((0, more) for more in reversed(over)))))
        result: Tensor = self.leave(self.blocks(self.enter(gathered(padded, self.coarse))))
        result = spread_out(result, self.coarse)
        for axis, side in enumerate(sides):
            result = result.narrow(axis + 2, 0, side)
        return result


def gathered(x: Tensor, coarse: int) -> Tensor:
    """Blocks of voxels as channels: (batch, channel, *voxels) -> (batch, channel * blocks, *voxels / coarse)."""
    if coarse == 1:
        return x
    batch, channels, *sides = x.shape
    count = len(sides)
    split = x.reshape(batch, channels, *itertools.chain(*((side // coarse, coarse) for side in sides)))
    inner = [3 + 2 * axis for axis in range(count)]
    outer = [2 + 2 * axis for axis in range(count)]
    return split.permute(0, 1, *inner, *outer).reshape(
        batch, channels * coarse**count, *(side // coarse for side in sides)
    )


def spread_out(x: Tensor, coarse: int) -> Tensor:
    """Undo `gathered`."""
    if coarse == 1:
        return x
    batch, channels, *sides = x.shape
    count = len(sides)
    split = x.reshape(batch, channels // coarse**count, *(coarse,) * count, *sides)
    order = itertools.chain(*((2 + count + axis, 2 + axis) for axis in range(count)))
    return split.permute(0, 1, *order).reshape(
        batch, channels // coarse**count, *(side * coarse for side in sides)
    )


def _convolution(channels: int, results: int, dimensions: int) -> nn.Module:
    kind = nn.Conv3d if dimensions == 3 else nn.Conv2d
    return kind(channels, results, 3, padding=1)
