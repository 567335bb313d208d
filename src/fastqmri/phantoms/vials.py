"""A round container with vials, each of one tissue drawn from the priors: what quality assurance scans."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from fastqmri.core import Measurement, Parameter, ShapeError
from fastqmri.phantoms.noise import add_noise
from fastqmri.physics.signal import DiffusionTensor, SignalModel
from fastqmri.physics.signal.diffusion import TENSOR_ELEMENTS

VIALS = 14
LEAST_SIDE = 24
"""Voxels along a side of a slice, below which some vials would be a voxel or two."""


@dataclass(frozen=True)
class VialScan:
    """Simulated images and the truth behind them.

    Attributes:
        measurement: images with noise, mask and known maps included.
        truth: (parameter, *voxels), all parameters of the model; zero outside the mask.
        labels: (*voxels) int16, vial number, VIALS + 1 for the filling, 0 outside.
        noise: standard deviation of the noise of one channel.
    """

    measurement: Measurement
    truth: Tensor
    labels: Tensor
    noise: float


def vials(
    model: SignalModel,
    generator: torch.Generator,
    *,
    shape: tuple[int, int, int] = (96, 96, 5),
    snr: float = 50.0,
    rician: bool = True,
) -> VialScan:
    """Draw a phantom and measure it.

    Every vial gets its parameters from the model's priors, spread evenly (on a logarithmic scale where a
    prior spans more than a factor of five) so that the range is covered whatever the seed. Parameters that
    are normally measured elsewhere (B1+) vary smoothly by ±15 %, inside their priors, and are given as
    known maps.

    Args:
        model: what to simulate.
        generator: source of all randomness.
        shape: voxels; the vials run along the last axis.
        snr: brightest noiseless sample of the median vial over the noise of one channel.
        rician: magnitudes of complex noise for models of non-negative signals; otherwise Gaussian noise.

    Raises:
        ShapeError: slices of fewer than LEAST_SIDE voxels along a side.
    """
    if min(shape[:2]) < LEAST_SIDE:
        raise ShapeError(
            f"slices of {shape[0]} × {shape[1]} voxels",
            "vials would be a voxel or two.",
            f"Use at least {LEAST_SIDE} voxels along each side.",
        )
    labels = _labels(shape)
    inside = labels > 0
    truth = torch.zeros(len(model.parameters), *shape, dtype=torch.float64)
    known: dict[str, Tensor] = {}
    tensors = _tensors(generator) if isinstance(model, DiffusionTensor) else None
    for i, parameter in enumerate(model.parameters):
        if parameter.nominal is not None:
            truth[i] = (parameter.nominal * _smooth_field(shape)).clamp(*parameter.prior)
            known[parameter.name] = truth[i].float()
        elif tensors is not None and parameter.name in TENSOR_ELEMENTS:
            truth[i] = _filled(labels, tensors[TENSOR_ELEMENTS.index(parameter.name)])
        else:
            truth[i] = _filled(labels, _spread(parameter, generator))
    safe = torch.where(inside, truth, truth[:, inside].mean(1)[:, None, None, None])
    signal = model.forward(safe) * inside
    peaks = torch.stack([signal.abs()[:, labels == v].amax() for v in range(1, VIALS + 1)])
    noise = float(peaks.median()) / snr
    noisy = add_noise(signal, noise, rician and model.non_negative, generator)
    measurement = Measurement(
        noisy.to(torch.complex64 if noisy.is_complex() else torch.float32),
        model.acquisition,
        mask=inside,
        known=known,
        affine=torch.eye(4, dtype=torch.float64),
    )
    return VialScan(measurement, truth * inside, labels, noise)


def _labels(shape: tuple[int, int, int]) -> Tensor:
    """Ten vials on an outer ring, four on an inner one, inside a round container."""
    x, y = torch.meshgrid(torch.linspace(-1, 1, shape[0]), torch.linspace(-1, 1, shape[1]), indexing="ij")
    plane = torch.where(x**2 + y**2 < 0.9**2, VIALS + 1, 0)
    for vial in range(VIALS):
        count, radius, index = (10, 0.66, vial) if vial < 10 else (4, 0.28, vial - 10)
        angle = 2 * math.pi * index / count
        distance = (x - radius * math.cos(angle)) ** 2 + (y - radius * math.sin(angle)) ** 2
        plane = torch.where(distance < 0.15**2, vial + 1, plane)
    return plane[:, :, None].expand(shape).to(torch.int16).contiguous()


def _spread(parameter: Parameter, generator: torch.Generator) -> Tensor:
    """One value a vial, evenly spread over the prior in random order; the middle for the filling."""
    low, high = parameter.prior
    if parameter.name in ("M0", "S0"):
        return 1000 * torch.ones(VIALS + 1, dtype=torch.float64)
    order = torch.randperm(VIALS, generator=generator).double()
    place = torch.cat([(order + 0.5) / VIALS, torch.tensor([0.5], dtype=torch.float64)])
    if low > 0 and high / low > 5:
        return torch.exp(math.log(low) + place * math.log(high / low))
    return low + place * (high - low)


def _tensors(generator: torch.Generator) -> Tensor:
    """(element, vial) prolate tensors from isotropic to strongly anisotropic, in random directions."""
    count = VIALS + 1
    ratio = 1 + 7 * torch.rand(count, dtype=torch.float64, generator=generator)
    ratio[-1] = 1
    direction = torch.randn(3, count, dtype=torch.float64, generator=generator)
    direction = direction / direction.norm(dim=0)
    radial = 2.1e-3 / (2 + ratio)
    full = (ratio - 1) * radial * direction[:, None] * direction[None]
    full = full + radial * torch.eye(3, dtype=torch.float64)[:, :, None]
    return torch.stack([full["xyz".index(e[1]), "xyz".index(e[2])] for e in TENSOR_ELEMENTS])


def _filled(labels: Tensor, values: Tensor) -> Tensor:
    padded = torch.cat([torch.zeros(1, dtype=values.dtype), values])
    return padded[labels.long()]


def _smooth_field(shape: tuple[int, int, int]) -> Tensor:
    x, y = torch.meshgrid(
        torch.linspace(-1, 1, shape[0], dtype=torch.float64),
        torch.linspace(-1, 1, shape[1], dtype=torch.float64),
        indexing="ij",
    )
    field = 1 + 0.15 * torch.cos(1.5 * x) * torch.cos(1.2 * y) - 0.05 * x
    return field[:, :, None].expand(shape).contiguous()
