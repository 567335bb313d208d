"""Diffusion and perfusion."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fastqmri.core import DiffusionWeighted, PulsedGradient
from fastqmri.physics.signal import (
    ApparentDiffusion,
    DiffusionTensor,
    IntravoxelIncoherentMotion,
    SignalModel,
)
from fastqmri.physics.spins import RestrictedDiffusion
from physics.checks import Case


def unit_vectors(count: int, seed: int = 3) -> tuple[tuple[float, float, float], ...]:
    """Directions spread at random over the sphere."""
    vectors = torch.randn(count, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    x, y, z = (vectors / vectors.norm(dim=1, keepdim=True)).unbind(1)
    return tuple(zip(x.tolist(), y.tolist(), z.tolist(), strict=True))


SHELLS = DiffusionWeighted(
    b_value=(0.0, 0.0, *(700.0,) * 9, *(1500.0,) * 12),
    b_vector=((0.0, 0.0, 0.0),) * 2 + unit_vectors(21),
)
TRACE = DiffusionWeighted(b_value=(0.0, 150.0, 400.0, 800.0, 1300.0))
PERFUSION = DiffusionWeighted(b_value=(0.0, 5.0, 10.0, 20.0, 35.0, 60.0, 100.0, 200.0, 400.0, 600.0, 900.0))

PULSES = PulsedGradient(
    gradient_amplitude=(0.0, 0.12, 0.25, 0.4, 0.1, 0.22, 0.33),
    pulse_duration=(0.01, 0.01, 0.01, 0.004, 0.004, 0.004, 0.007),
    pulse_separation=(0.04, 0.04, 0.04, 0.012, 0.012, 0.03, 0.02),
)
_TIMING = ("gradient_amplitude", "pulse_duration", "pulse_separation")


def tissue_tensors(model: SignalModel, voxels: int, generator: torch.Generator) -> Tensor:
    """S0 and tensors with positive, well separated eigenvalues in every orientation."""
    frames, _ = torch.linalg.qr(torch.randn(voxels, 3, 3, dtype=torch.float64, generator=generator))
    low = torch.tensor([0.9e-3, 0.45e-3, 0.1e-3], dtype=torch.float64)
    high = torch.tensor([2.0e-3, 0.8e-3, 0.35e-3], dtype=torch.float64)
    values = low + (high - low) * torch.rand(voxels, 3, dtype=torch.float64, generator=generator)
    d = torch.einsum("vik,vk,vjk->ijv", frames, values, frames)
    s0 = 0.5 + torch.rand(voxels, dtype=torch.float64, generator=generator)
    return torch.stack([s0, d[0, 0], d[0, 1], d[0, 2], d[1, 1], d[1, 2], d[2, 2]])


CASES = (
    Case(
        "dti",
        lambda: DiffusionTensor(SHELLS),
        {
            "b": np.array(SHELLS.b_value),
            **{f"g{axis}": np.array(SHELLS.b_vector)[:, i] for i, axis in enumerate("xyz")},
        },
        draw=tissue_tensors,
    ),
    Case(
        "adc",
        lambda: ApparentDiffusion(TRACE),
        {"b": np.array(TRACE.b_value)},
        theta=lambda x: x[1],
    ),
    Case(
        "ivim",
        lambda: IntravoxelIncoherentMotion(PERFUSION),
        {"b": np.array(PERFUSION.b_value)},
    ),
    *(
        Case(
            f"restricted-diffusion-{geometry}",
            lambda geometry=geometry: RestrictedDiffusion(PULSES, geometry),
            None,
            schedule=_TIMING,
        )
        for geometry in RestrictedDiffusion.SHAPES
    ),
    Case(
        "restricted-diffusion-exact",
        lambda: RestrictedDiffusion(PULSES, "plates", "exact"),
        None,
        schedule=_TIMING,
    ),
)
