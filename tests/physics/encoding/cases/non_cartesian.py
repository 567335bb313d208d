"""Samples off the grid: the transform, its Gram operator, and coils before it."""

from __future__ import annotations

import math

import torch

from fastqmri.physics.encoding import (
    CartesianEncoding,
    Fourier,
    LinearOperator,
    NonUniformFourier,
    OffResonance,
    Sensitivities,
    TemporalSubspace,
)
from physics.encoding.checks import OperatorCase

_PLANE, _VOLUME, _SAMPLES = (5, 8), (3, 5, 4), 23


def _trajectory(shape: tuple[int, ...], g: torch.Generator, dtype: torch.dtype) -> torch.Tensor:
    return (math.pi * (2 * torch.rand(shape, dtype=torch.float64, generator=g) - 1)).to(dtype)


def _plane(g: torch.Generator, dtype: torch.dtype) -> NonUniformFourier:
    return NonUniformFourier(_trajectory((_SAMPLES, 2), g, dtype), _PLANE)


def _per_contrast(g: torch.Generator, dtype: torch.dtype) -> NonUniformFourier:
    return NonUniformFourier(_trajectory((2, _SAMPLES, 2), g, dtype), _PLANE)


def _volume(g: torch.Generator, dtype: torch.dtype) -> NonUniformFourier:
    return NonUniformFourier(_trajectory((_SAMPLES, 3), g, dtype), _VOLUME)


def _coils(g: torch.Generator, dtype: torch.dtype) -> Sensitivities:
    maps = torch.randn((3, *_PLANE), dtype=torch.complex128, generator=g)
    return Sensitivities(maps.to(torch.complex64 if dtype == torch.float32 else torch.complex128), 2)


def _encoding(g: torch.Generator, dtype: torch.dtype) -> LinearOperator:
    return _per_contrast(g, dtype) @ _coils(g, dtype)


def _weighted(g: torch.Generator, dtype: torch.dtype) -> LinearOperator:
    operator = _per_contrast(g, dtype)
    return operator.weighted_gram(torch.rand(2, _SAMPLES, generator=g, dtype=torch.float64))


def _field(g: torch.Generator, dtype: torch.dtype) -> torch.Tensor:
    return (100 * torch.randn(_PLANE, dtype=torch.float64, generator=g)).to(dtype)


def _off_resonance(g: torch.Generator, dtype: torch.dtype) -> LinearOperator:
    times = torch.linspace(1e-3, 9e-3, _SAMPLES, dtype=torch.float64)
    return OffResonance(_per_contrast(g, dtype), _field(g, dtype), times) @ _coils(g, dtype)


def _off_resonance_lines(g: torch.Generator, dtype: torch.dtype) -> LinearOperator:
    times = torch.linspace(-4e-3, 4e-3, 8, dtype=torch.float64)[None]
    return OffResonance(Fourier(2), _field(g, dtype), times, segments=3)


def _basis(g: torch.Generator, dtype: torch.dtype) -> torch.Tensor:
    drawn = torch.randn(6, 2, dtype=torch.complex128, generator=g)
    return drawn.to(torch.complex64 if dtype == torch.float32 else torch.complex128)


def _subspace(g: torch.Generator, dtype: torch.dtype) -> LinearOperator:
    return TemporalSubspace(_basis(g, dtype), 2)


def _subspace_encoding(g: torch.Generator, dtype: torch.dtype) -> LinearOperator:
    maps = torch.randn((3, *_PLANE), dtype=torch.complex128, generator=g)
    maps = maps.to(torch.complex64 if dtype == torch.float32 else torch.complex128)
    mask = torch.rand((6, *_PLANE), generator=g) < 0.5
    return CartesianEncoding(maps, mask) @ _subspace(g, dtype)


CASES = [
    OperatorCase("nufft-2d", _plane, (2, 3, *_PLANE), (2, 3, _SAMPLES)),
    OperatorCase("nufft-per-contrast", _per_contrast, (2, 3, *_PLANE), (2, 3, _SAMPLES)),
    OperatorCase("nufft-3d", _volume, (2, *_VOLUME), (2, _SAMPLES)),
    OperatorCase("nufft-coils", _encoding, (2, *_PLANE), (2, 3, _SAMPLES)),
    OperatorCase("nufft-gram", lambda g, d: _plane(g, d).gram, (2, 3, *_PLANE), (2, 3, *_PLANE)),
    OperatorCase("nufft-gram-3d", lambda g, d: _volume(g, d).gram, (2, *_VOLUME), (2, *_VOLUME)),
    OperatorCase("nufft-gram-weighted", _weighted, (2, 3, *_PLANE), (2, 3, *_PLANE)),
    OperatorCase("nufft-coils-gram", lambda g, d: _encoding(g, d).gram, (2, *_PLANE), (2, *_PLANE)),
    OperatorCase("off-resonance", _off_resonance, (2, *_PLANE), (2, 3, _SAMPLES)),
    OperatorCase("off-resonance-lines", _off_resonance_lines, (2, *_PLANE), (2, *_PLANE)),
    OperatorCase("subspace", _subspace, (2, *_PLANE), (6, *_PLANE)),
    OperatorCase("subspace-encoding", _subspace_encoding, (2, *_PLANE), (6, 3, *_PLANE)),
]
