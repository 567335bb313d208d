"""A network that corrects the classical fit of undersampled scans."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from fastqmri.learning.kspace_features import FeatureMaker, Features
from fastqmri.learning.simulation import Scans
from fastqmri.physics.signal import SignalModel

_STEP = 2.0
"""A network's output of one changes the second parameter by so much in its logistic coordinate."""


class MapCorrection(nn.Module):
    """Features to a complex amplitude and the second parameter of a model.

    The network's first two channels are added to the fit's amplitude (real and imaginary part, relative to the
    features' phase), the third to the logistic coordinate of the logarithm of the fit's other parameter, so that it
    stays inside its limits.

    Args:
        body: from as many channels as the features have to three.
        limits: of the second parameter.
    """

    def __init__(self, body: nn.Module, limits: tuple[float, float]) -> None:
        super().__init__()
        # the fastest layout of convolutions on processors
        self.body = body
        for weight in body.parameters():
            if weight.ndim == 4:
                weight.data = weight.data.contiguous(memory_format=torch.channels_last)
        self.low, self.high = math.log(limits[0]), math.log(limits[1])

    def forward(self, features: Features) -> tuple[Tensor, Tensor]:
        """Amplitude, in units of the features' scale and without their phase, and value; (slice, *voxels) each."""
        layout = torch.channels_last if features.channels.ndim == 4 else torch.channels_last_3d
        change = self.body(features.channels.contiguous(memory_format=layout))
        span = self.high - self.low
        place = torch.logit((features.value.log() - self.low) / span) + _STEP * change[:, 2]
        value = torch.exp(self.low + span * torch.sigmoid(place))
        return torch.complex(features.amplitude + change[:, 0], change[:, 1]), value


def synthesised(
    model: SignalModel, amplitude: Tensor, value: Tensor, features: Features, known: Mapping[str, Tensor]
) -> Tensor:
    """Images ρ (slice, contrast, *voxels) of a network's output."""
    unit = features.scale.view(-1, *(1,) * (value.ndim - 1))
    signal = model(torch.stack([torch.ones_like(value), value, *known.values()])).movedim(0, 1)
    return (amplitude * features.phase * unit)[:, None] * signal


def residual(
    network: MapCorrection, maker: FeatureMaker, scans: Scans, features: Features
) -> tuple[Tensor, Tensor, Tensor]:
    """E A(x) - y of all samples of a scan (slice, contrast, coil, *voxels), the amplitude and the value."""
    amplitude, value = network(features)
    images = synthesised(maker.model, amplitude, value, features, scans.known)
    return scans.encoding(images) - scans.kspace, amplitude, value


def saturating(value: Tensor, knee: float) -> Tensor:
    """A parameter as losses see it: nearly linear well below the knee, levelling off where data tell little."""
    return 4 * value / (value + knee)


def variation(amplitude: Tensor, value: Tensor, knee: float) -> Tensor:
    """Total variation of both maps of each scan (slice,): mean length of the gradient, the amplitude's halved."""
    total = torch.zeros(len(value), device=value.device)
    for share, x in ((1.0, saturating(value, knee)), (0.5, amplitude)):
        axes = range(1, x.ndim)
        inner = [slice(None), *(slice(0, -1) for _ in axes)]
        square = torch.full((), 1e-6, device=x.device)
        for axis in axes:
            moved = list(inner)
            moved[axis] = slice(1, None)
            step = x[tuple(moved)] - x[tuple(inner)]
            square = square + (step.real**2 + step.imag**2 if step.is_complex() else step**2)
        total = total + share * square.sqrt().flatten(1).mean(1)
    return total
