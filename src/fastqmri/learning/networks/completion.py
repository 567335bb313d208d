"""Networks that complete a series of contrast images from a few of them."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn


@final
class ContrastCompletion(nn.Module):
    """Two convolutions whose outputs are joined, a third, and a linear one; all 3 x 3.

    What the last one gives is added to a linear combination of the inputs of the same pixel.

    Source: Luu 2021 (qMTNet-acq, of widths 256, 128, 32), without the linear path.

    Args:
        inputs: images and maps given.
        outputs: images wanted.
        widths: of the first three convolutions.
    """

    def __init__(self, inputs: int, outputs: int, widths: tuple[int, int, int] = (256, 128, 32)) -> None:
        super().__init__()
        first, second, third = widths
        self.first = nn.Conv2d(inputs, first, 3, padding=1)
        self.second = nn.Conv2d(first, second, 3, padding=1)
        self.third = nn.Conv2d(first + second, third, 3, padding=1)
        self.last = nn.Conv2d(third, outputs, 3, padding=1)
        self.linear = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Images (slice, output, x, y) of images (slice, input, x, y)."""
        one = torch.relu(self.first(x))
        both = torch.cat([one, torch.relu(self.second(one))], 1)
        found: Tensor = self.last(torch.relu(self.third(both))) + self.linear(x)
        return found
