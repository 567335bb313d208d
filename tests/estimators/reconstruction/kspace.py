"""Small simulated scans that several tests reconstruct."""

from __future__ import annotations

import torch

from fastqmri.core import Measurement
from fastqmri.core.acquisition import MultiEchoSpinEcho
from fastqmri.estimators import CATALOGUE
from fastqmri.phantoms import Phantom, acquire, ellipses
from fastqmri.physics.encoding import CartesianEncoding, synthetic_sensitivities, variable_density_lines

ENTRY = CATALOGUE["mese"]
ECHOES = tuple(0.007 + i * 0.064 / 7 for i in range(8))
MODEL = ENTRY.build(MultiEchoSpinEcho(echo_time=ECHOES))


def scan(
    generator: torch.Generator,
    *,
    voxels: tuple[int, ...] = (32, 32),
    acceleration: float = 4.0,
    coils: int = 4,
    snr: float = 60.0,
) -> tuple[Phantom, Measurement]:
    """A textured phantom and its multi-echo k-space, other phase-encoding lines for every echo."""
    phantom = ellipses(voxels, generator=generator)
    maps = synthetic_sensitivities(voxels, coils, generator=generator)
    lines = variable_density_lines(voxels[0], len(ECHOES), acceleration, generator=generator)
    mask = lines.view(len(ECHOES), -1, *(1,) * (len(voxels) - 1))
    return phantom, acquire(phantom, MODEL, CartesianEncoding(maps, mask), snr=snr, generator=generator)


def truth(phantom: Phantom) -> torch.Tensor:
    """Noise-free images (contrast, *voxels)."""
    return phantom.signal(MODEL).to(torch.complex64)


def error(images: torch.Tensor, phantom: Phantom) -> float:
    """Relative difference of magnitudes inside the phantom."""
    wanted = truth(phantom).abs()[:, phantom.mask]
    return float((images.abs()[:, phantom.mask] - wanted).norm() / wanted.norm())
