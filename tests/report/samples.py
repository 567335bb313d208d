"""Measurements and estimates with known truth, and the reports' contents made of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from fastqmri.core import (
    Acquisition,
    DiffusionWeighted,
    Measurement,
    MultiEchoGradientEcho,
    VariableFlipAngle,
)
from fastqmri.estimators import CATALOGUE, least_squares
from fastqmri.physics.signal import SignalModel
from fastqmri.report import InputRecord, ReportContent

FLIP_ANGLES = VariableFlipAngle(flip_angle=("2deg", "5deg", "12deg", "20deg"), repetition_time="15ms")
GRADIENT_ECHOES = MultiEchoGradientEcho(echo_time=tuple(f"{4 * i}ms" for i in range(1, 7)))
_drawn = torch.randn(12, 3, generator=torch.Generator().manual_seed(1))
_unit = (_drawn / _drawn.norm(dim=1, keepdim=True)).tolist()
DIFFUSION = DiffusionWeighted(
    b_value=(0.0, 0.0, *(1000.0,) * 12), b_vector=((0, 0, 0), (0, 0, 0), *(tuple(v) for v in _unit))
)
NOISE = 2.0


def sample(
    name: str = "vfa",
    acquisition: Acquisition = FLIP_ANGLES,
    shape: tuple[int, ...] = (12, 10, 3),
    **measured: Any,
) -> ReportContent:
    """A report's content: parameters drawn from the priors, signals with noise, a least-squares fit."""
    entry = CATALOGUE[name]
    model = entry.build(acquisition)
    measurement = Measurement(signals(model, shape), acquisition, **measured)
    maps = least_squares(model).estimate(measurement)
    return ReportContent(
        title="Sample scan",
        maps=maps,
        measurement=measurement,
        model=model,
        method="nlls: non-linear least squares",
        command="fastqmri fit sample.nii.gz",
        inputs=(InputRecord("sample.nii.gz", "image", f"{acquisition.contrasts} volumes", "given"),),
        shown=tuple(parameter for parameter in entry.outputs if parameter in maps),
        references=model.references,
        seconds=0.5,
    )


def signals(model: SignalModel, shape: tuple[int, ...]) -> Tensor:
    """Noisy signals (contrast, *shape) of parameters in the middle of their priors."""
    generator = torch.Generator().manual_seed(7)
    rows = []
    for i, parameter in enumerate(model.parameters):
        low, high = parameter.prior
        spread = torch.rand(shape, generator=generator, dtype=torch.float64) * 0.3 + 0.2
        rows.append(1000.0 * (1 + spread) if i == 0 else low + spread * (high - low))
        if parameter.nominal is not None:
            rows[-1] = torch.full(shape, parameter.nominal, dtype=torch.float64)
    clean = model(torch.stack(rows))
    real, imaginary = NOISE * torch.randn((2, *clean.shape), generator=generator, dtype=torch.float64)
    return clean + (torch.complex(real, imaginary) if clean.is_complex() else real)


def flagged(content: ReportContent, flags: int, share: float = 1.0) -> ReportContent:
    """The same content with these flags set in the first voxels."""
    marked = content.maps.flags.clone().flatten()
    marked[: round(share * marked.numel())] |= flags
    return replace(content, maps=replace(content.maps, flags=marked.view(content.maps.flags.shape)))
