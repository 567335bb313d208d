"""Noise of receivers."""

from __future__ import annotations

import torch
from torch import Tensor


def add_noise(signal: Tensor, noise: float | Tensor, rician: bool, generator: torch.Generator) -> Tensor:
    """Signal with white Gaussian noise in every channel.

    Args:
        signal: any shape; complex signals get noise in both channels.
        noise: standard deviation of one real channel, or several that broadcast against the signal.
        rician: take the magnitude of a real signal with complex noise.
        generator: draws it.
    """

    def draw() -> Tensor:
        return noise * torch.randn(signal.shape, dtype=torch.float64, generator=generator)

    if signal.is_complex():
        return signal + torch.complex(draw(), draw())
    if rician:
        return torch.hypot(signal + draw(), draw())
    return signal + draw()
