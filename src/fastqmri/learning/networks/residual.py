"""Residual convolutional network: full resolution throughout, every block adds to what went in."""

from __future__ import annotations

from torch import Tensor, nn

from fastqmri.learning.networks.convolution import activated, check_channels, convolution


class ResidualNetwork(nn.Module):
    """Maps (sample, channel, *voxels) to (sample, channel, *voxels) of any matrix.

    The last layer starts at zero, so that an untrained network returns zeros.

    Source: He 2016, without normalisation and with the activation inside the blocks only.

    Args:
        inputs: channels.
        outputs: channels.
        width: channels inside.
        blocks: of two convolutions each; the network sees 2 + 2 blocks voxels in every direction.
        dimensions: 2 or 3 voxel axes.
        groups: of the group normalisation; None leaves it out.

    Raises:
        PlausibilityError: channels below one, or other than two or three voxel axes.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        width: int = 32,
        blocks: int = 4,
        *,
        dimensions: int = 2,
        groups: int | None = None,
    ) -> None:
        super().__init__()
        check_channels(dimensions, inputs, outputs, width)
        self.first = convolution(inputs, width, dimensions)
        self.blocks = nn.ModuleList(
            nn.Sequential(*activated(width, width, dimensions, groups), convolution(width, width, dimensions))
            for _ in range(blocks)
        )
        final = convolution(width, outputs, dimensions)
        self.last = nn.Sequential(nn.LeakyReLU(0.1), final)
        nn.init.zeros_(final.weight)
        assert final.bias is not None
        nn.init.zeros_(final.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(sample, channel, *voxels) -> (sample, channel, *voxels)."""
        x = self.first(x)
        for block in self.blocks:
            x = x + block(x)
        out: Tensor = self.last(x)
        return out
