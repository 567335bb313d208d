"""Fourier transforms, coils, Cartesian sampling, and the algebra itself."""

from __future__ import annotations

import torch

from fastqmri.physics.encoding import (
    CartesianEncoding,
    Fourier,
    Identity,
    LinearOperator,
    Sampling,
    Sensitivities,
    SubspaceGram,
    TemporalSubspace,
    Zero,
    stack,
)
from physics.encoding.checks import OperatorCase

_PLANE, _VOLUME = (5, 8), (3, 5, 4)


def _complex(shape: tuple[int, ...], g: torch.Generator, dtype: torch.dtype) -> torch.Tensor:
    drawn = torch.randn(shape, dtype=torch.complex128, generator=g)
    return drawn.to(torch.complex64 if dtype == torch.float32 else torch.complex128)


def _mask(shape: tuple[int, ...], g: torch.Generator) -> torch.Tensor:
    return torch.rand(shape, generator=g) < 0.5


def _coils(g: torch.Generator, dtype: torch.dtype) -> LinearOperator:
    return Sensitivities(_complex((3, *_PLANE), g, dtype), 2)


def _encoding(g: torch.Generator, dtype: torch.dtype) -> CartesianEncoding:
    return CartesianEncoding(_complex((3, *_PLANE), g, dtype), _mask((2, *_PLANE), g))


def _lines(g: torch.Generator, dtype: torch.dtype) -> CartesianEncoding:
    return CartesianEncoding(_complex((3, *_PLANE), g, dtype), _mask((2, 1, 8), g))


def _volume(g: torch.Generator, dtype: torch.dtype) -> CartesianEncoding:
    return CartesianEncoding(_complex((2, *_VOLUME), g, dtype), _mask((2, 3, 5, 1), g))


def _subspace_gram(encoding: CartesianEncoding, g: torch.Generator, dtype: torch.dtype) -> SubspaceGram:
    basis = torch.linalg.qr(_complex((2, 2), g, dtype))[0]
    dimensions = len(encoding.domain or ())
    return SubspaceGram(encoding, TemporalSubspace(basis, dimensions))


def _unsampled(g: torch.Generator, dtype: torch.dtype) -> CartesianEncoding:
    return CartesianEncoding(_complex((3, *_PLANE), g, dtype), torch.ones(1, 1, 1, dtype=torch.bool))


CASES = [
    OperatorCase("fourier-2d", lambda g, d: Fourier(2), (2, *_PLANE), (2, *_PLANE)),
    OperatorCase("fourier-3d", lambda g, d: Fourier(3), (2, *_VOLUME), (2, *_VOLUME)),
    OperatorCase("coils", _coils, (2, *_PLANE), (2, 3, *_PLANE)),
    OperatorCase(
        "sampling", lambda g, d: Sampling(_mask((2, 1, *_PLANE), g)), (2, 3, *_PLANE), (2, 3, *_PLANE)
    ),
    OperatorCase("cartesian", _encoding, (2, *_PLANE), (2, 3, *_PLANE)),
    OperatorCase("cartesian-lines", _lines, (2, *_PLANE), (2, 3, *_PLANE)),
    OperatorCase("cartesian-3d", _volume, (2, *_VOLUME), (2, 2, *_VOLUME)),
    OperatorCase("cartesian-full", _unsampled, (2, *_PLANE), (2, 3, *_PLANE)),
    OperatorCase("adjoint", lambda g, d: _encoding(g, d).H, (2, 3, *_PLANE), (2, *_PLANE)),
    OperatorCase("gram", lambda g, d: _encoding(g, d).gram, (2, *_PLANE), (2, *_PLANE)),
    OperatorCase("gram-lines", lambda g, d: _lines(g, d).gram, (2, *_PLANE), (2, *_PLANE)),
    OperatorCase(
        "subspace-gram", lambda g, d: _subspace_gram(_encoding(g, d), g, d), (2, *_PLANE), (2, *_PLANE)
    ),
    OperatorCase(
        "subspace-gram-lines", lambda g, d: _subspace_gram(_lines(g, d), g, d), (2, *_PLANE), (2, *_PLANE)
    ),
    OperatorCase(
        "subspace-gram-3d", lambda g, d: _subspace_gram(_volume(g, d), g, d), (2, *_VOLUME), (2, *_VOLUME)
    ),
    OperatorCase(
        "subspace-gram-full", lambda g, d: _subspace_gram(_unsampled(g, d), g, d), (2, *_PLANE), (2, *_PLANE)
    ),
    OperatorCase("identity", lambda g, d: Identity(), (2, *_PLANE), (2, *_PLANE)),
    OperatorCase("zero", lambda g, d: Zero(), (2, *_PLANE), (2, *_PLANE)),
    OperatorCase("composition", lambda g, d: Fourier(2) @ _coils(g, d), (2, *_PLANE), (2, 3, *_PLANE)),
    OperatorCase(
        "combination",
        lambda g, d: (0.5 - 2j) * _coils(g, d) - _coils(g, d) @ Fourier(2),
        (2, *_PLANE),
        (2, 3, *_PLANE),
    ),
    OperatorCase("shifted", lambda g, d: _encoding(g, d).gram + 0.3, (2, *_PLANE), (2, *_PLANE)),
    OperatorCase(
        "stack",
        lambda g, d: stack(Fourier(2), 2j * Identity(), axis=3),
        (2, *_PLANE),
        (2, 2, *_PLANE),
    ),
]
