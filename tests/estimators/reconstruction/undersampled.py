"""Scans of textured ellipses for tests of reconstructions: k-space and truth."""

from __future__ import annotations

import math

import torch

from fastqmri.core import Measurement, MultiEchoSpinEcho, VariableFlipAngle
from fastqmri.phantoms.acquire import acquire
from fastqmri.phantoms.ellipses import ellipses
from fastqmri.phantoms.phantom import Phantom
from fastqmri.physics.encoding import CartesianEncoding, synthetic_sensitivities, variable_density_lines
from fastqmri.physics.signal import ExponentialDecay, SignalModel, SpoiledGradientEcho

ECHO_TIMES = (0.007, 0.016, 0.025, 0.034, 0.043, 0.052, 0.062, 0.071)
FLIP_ANGLES = (3, 5, 8, 11, 15, 20)


def decay() -> SignalModel:
    return ExponentialDecay(MultiEchoSpinEcho(echo_time=ECHO_TIMES))


def flip_angles() -> SignalModel:
    angles = tuple(math.radians(a) for a in FLIP_ANGLES)
    return SpoiledGradientEcho(VariableFlipAngle(flip_angle=angles, repetition_time=0.0052))


def scan(
    model: SignalModel,
    acceleration: float,
    seed: int,
    *,
    side: int = 64,
    coils: int = 4,
    snr: float = 60.0,
) -> tuple[Phantom, Measurement]:
    """Lines of their own for every contrast."""
    g = torch.Generator().manual_seed(seed)
    phantom = ellipses((side, side), generator=g)
    maps = synthetic_sensitivities((side, side), coils, generator=g)
    lines = variable_density_lines(side, model.acquisition.contrasts, acceleration, generator=g)
    encoding = CartesianEncoding(maps, lines[:, None, :])
    measurement = acquire(phantom, model, encoding, snr=snr, generator=g)
    return phantom, measurement


def error(value: torch.Tensor, phantom: Phantom, name: str) -> float:
    """Normalised root mean square error in the mask, in percent."""
    truth, inside = phantom.maps[name], phantom.mask
    return 100 * float((value.double() - truth)[inside].norm() / truth[inside].norm())
