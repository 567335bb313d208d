"""A network that corrects the classical fit of undersampled scans."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from fastqmri.learning.kspace_features import Features
from fastqmri.learning.losses import kspace_loss, total_variation
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


def relative_misfit(images: Tensor, scans: Scans, weights: Tensor | None = None) -> Tensor:
    """||W^(1/2) (E ρ - y)||² / ||y||², the mean over scans.

    Args:
        images: ρ (slice, contrast, *voxels).
        scans: E and y.
        weights: W of every sample, (slice, contrast, *voxels) with axes of length 1 counting for all; one if None.
    """
    size = scans.kspace.flatten(1).norm(dim=1).clamp_min(1e-30).view(-1, *(1,) * (images.ndim - 1))
    root = images.real.new_ones(()) if weights is None else weights.sqrt()[:, :, None]

    def encoding(x: Tensor) -> Tensor:
        return root * scans.encoding(x)

    return kspace_loss(images / size, root * scans.kspace / size[..., None], encoding, float(len(images)))


def saturating(value: Tensor, knee: float) -> Tensor:
    """A parameter as losses see it: nearly linear well below the knee, levelling off where data tell little."""
    return 4 * value / (value + knee)


def variation(amplitude: Tensor, value: Tensor, knee: float, weight: Tensor) -> Tensor:
    """Total variation of both maps, the amplitude's halved, times the weight of each scan (slice,); their mean."""
    maps = torch.stack([saturating(value, knee).to(amplitude.dtype), 0.5 * amplitude], 1)
    size = float(weight.mean())
    scaled = maps * (weight / size).view(-1, *(1,) * (maps.ndim - 1))
    return 2 * size * total_variation(scaled, isotropic=True)
