"""U-Net: an encoder and a decoder with shortcuts between equal resolutions, in two or three dimensions."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from fastqmri.core import PlausibilityError
from fastqmri.learning.networks.convolution import activated, check_channels, convolution


class UNet(nn.Module):
    """Maps (sample, channel, *voxels) to (sample, channel, *voxels) of any matrix.

    Each level has two convolutions, three wide, with leaky rectifiers; pooling by two leads to the next coarser one,
    linear interpolation and a shortcut back. Sides that the levels don't divide are padded by mirroring and cropped at
    the end. The last layer starts at zero, so that an untrained network returns zeros: one that predicts corrections
    starts from what it corrects.

    Source: Ronneberger 2015, with linear interpolation for transposed convolutions.

    Args:
        inputs: channels.
        outputs: channels.
        widths: channels of the levels, finest first; one level is a plain convolutional network.
        dimensions: 2 or 3 voxel axes.
        groups: of the group normalisation after each convolution; None leaves it out.

    Raises:
        PlausibilityError: no level, channels below one, or other than two or three voxel axes.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        widths: tuple[int, ...] = (32, 64, 128),
        *,
        dimensions: int = 2,
        groups: int | None = None,
    ) -> None:
        super().__init__()
        check_channels(dimensions, inputs, outputs, *widths)
        if not widths:
            raise PlausibilityError(
                "a U-Net without levels", "it has at least one.", "Give channels of a level."
            )
        self.dimensions = dimensions
        self.down = nn.ModuleList(
            nn.Sequential(*activated(a, b, dimensions, groups), *activated(b, b, dimensions, groups))
            for a, b in pairwise((inputs, *widths))
        )
        self.up = nn.ModuleList(
            nn.Sequential(*activated(a + b, b, dimensions, groups), *activated(b, b, dimensions, groups))
            for b, a in reversed(list(pairwise(widths)))
        )
        self.last = convolution(widths[0], outputs, dimensions, 1)
        nn.init.zeros_(self.last.weight)
        assert self.last.bias is not None
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(sample, channel, *voxels) -> (sample, channel, *voxels)."""
        voxels = x.shape[2:]
        x = padded(x, 2 ** (len(self.down) - 1))
        pool = functional.max_pool2d if self.dimensions == 2 else functional.max_pool3d
        kept = []
        for level, block in enumerate(self.down):
            x = block(pool(x, 2) if level else x)
            kept.append(x)
        for block, shortcut in zip(self.up, reversed(kept[:-1]), strict=True):
            mode = "bilinear" if self.dimensions == 2 else "trilinear"
            finer = functional.interpolate(x, scale_factor=2, mode=mode, align_corners=False)
            x = block(torch.cat([finer, shortcut], 1))
        x = self.last(x)
        for axis, side in enumerate(voxels, 2):
            x = x.narrow(axis, 0, side)
        return x


def padded(x: Tensor, multiple: int) -> Tensor:
    """Voxels mirrored at the far end until every side is a multiple; repeated where a side is too short for it."""
    for axis in range(2, x.ndim):
        side = x.shape[axis]
        missing = -side % multiple
        if missing:
            index = torch.arange(side + missing, device=x.device)
            period = max(2 * (side - 1), 1)
            index = index % period
            x = x.index_select(axis, torch.minimum(index, period - index).clamp_max(side - 1))
    return x
