"""Pieces that convolutional networks share, in two and three dimensions."""

from __future__ import annotations

from torch import nn

from fastqmri.core import PlausibilityError


def convolution(inputs: int, outputs: int, dimensions: int, width: int = 3) -> nn.Conv2d | nn.Conv3d:
    """A convolution that keeps the matrix."""
    kind = nn.Conv2d if dimensions == 2 else nn.Conv3d
    return kind(inputs, outputs, width, padding=width // 2)


def activated(inputs: int, outputs: int, dimensions: int, groups: int | None = None) -> list[nn.Module]:
    """A convolution, group normalisation unless ``groups`` is None, and a leaky rectifier."""
    layers: list[nn.Module] = [convolution(inputs, outputs, dimensions)]
    if groups is not None:
        layers.append(nn.GroupNorm(groups, outputs))
    return [*layers, nn.LeakyReLU(0.1)]


def check_channels(dimensions: int, *channels: int) -> None:
    """Refuse sizes that no network has.

    Raises:
        PlausibilityError: channels below one, or other than two or three voxel axes.
    """
    if dimensions not in (2, 3) or min(channels) < 1:
        raise PlausibilityError(
            f"a network of {dimensions} voxel axes and {', '.join(map(str, channels))} channels",
            "it has two or three axes and at least one channel everywhere.",
            "Correct the sizes.",
        )
