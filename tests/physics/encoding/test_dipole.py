"""Fields of susceptibility against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from fastqmri.core import PlausibilityError, ShapeError
from fastqmri.physics.encoding import (
    COMPONENTS,
    Dipole,
    SusceptibilityTensor,
    dipole_and_rest,
)

OBLIQUE = (0.48, -0.36, 0.8)


def _grid(sides: tuple[int, ...], size: tuple[float, ...]) -> Tensor:
    """Positions in mm from the middle voxel."""
    axes = [(torch.arange(n, dtype=torch.float64) - n // 2) * s for n, s in zip(sides, size, strict=True)]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))


def _ball(position: Tensor, radius: float, size: tuple[float, ...], parts: int = 4) -> Tensor:
    """Share of each voxel inside a ball (a disc where a side is one voxel)."""
    total = torch.zeros_like(position[0])
    shifts = [(torch.arange(parts, dtype=torch.float64) + 0.5) / parts - 0.5] * 3
    flat = position.shape[2] == 1
    for dx in shifts[0]:
        for dy in shifts[1][:1] * 0 if flat else shifts[1]:
            for dz in shifts[2]:
                moved = [position[i] + d * size[i] for i, d in enumerate((dx, dy, dz))]
                total += (moved[0] ** 2 + (0 if flat else moved[1] ** 2) + moved[2] ** 2) < radius**2
    return total / parts ** (2 if flat else 3)


@pytest.mark.parametrize(
    ("direction", "size"),
    [((0, 0, 1), (1.0, 1.0, 1.0)), (OBLIQUE, (1.0, 1.0, 1.0)), (OBLIQUE, (1.0, 0.8, 1.3))],
)
def test_sphere(direction: tuple[float, ...], size: tuple[float, ...]) -> None:
    """Outside Δχ/3 (R/r)³ (3cos²θ - 1), inside zero: the Lorentz sphere takes away its own third."""
    sides, radius, chi = (40, 44, 36), 7.0, 0.9
    position = _grid(sides, size)
    field = Dipole(sides, size, direction, padding=2, dtype=torch.float64)(
        chi * _ball(position, radius, size)
    )
    distance = position.square().sum(0).sqrt()
    cosine = torch.einsum("a,a...->...", torch.tensor(direction, dtype=torch.float64), position) / distance
    wanted = chi / 3 * (radius / distance) ** 3 * (3 * cosine**2 - 1)
    outside, inside = (distance > 1.4 * radius) & (distance < 2.2 * radius), distance < 0.7 * radius
    largest = 2 * chi / 3 / 1.4**3
    # k-space ends at the faces of a cube, which an oblique dipole shows as ripples along them
    error = (field - wanted)[outside]
    assert float(error.square().mean().sqrt()) < 0.012 * largest
    assert float(error.abs().max()) < (0.03 if direction == (0, 0, 1) else 0.1) * largest
    assert float(field[inside].square().mean().sqrt()) < 0.03 * largest
    flipped = float((field + wanted)[outside].abs().max())
    assert flipped > largest, "the sign would not have been seen"


def test_without_padding_the_field_wraps_round() -> None:
    sides, size = (32, 32, 32), (1.0, 1.0, 1.0)
    position = _grid(sides, size)
    ball = _ball(position + torch.tensor([0.0, 0.0, 9.0]).view(3, 1, 1, 1), 5.0, size)
    field, wrapped = (Dipole(sides, size, padding=p, dtype=torch.float64)(ball) for p in (2.0, 1.0))
    corner = (slice(12, 20), slice(12, 20), slice(26, 32))
    assert float(field[corner].abs().max()) < 0.25 * float(wrapped[corner].abs().max())


@pytest.mark.parametrize("angle", [0.0, 0.7, math.pi / 2])
def test_cylinder(angle: float) -> None:
    """Infinite along the second axis, θ from B0: outside Δχ/2 sin²θ (R/r)² cos2φ, inside Δχ/6 (3cos²θ - 1)."""
    sides, size, radius, chi = (160, 1, 160), (1.0, 1.0, 1.0), 8.0, 1.0
    position = _grid(sides, size)
    share = _ball(position, radius, size)
    direction = (0.0, math.cos(angle), math.sin(angle))
    field = Dipole(sides, size, direction, dtype=torch.float64)(chi * share)
    # D(0) = 0 takes the mean of the field away: a third of the mean susceptibility less half the perpendicular share
    field = field + chi * share.mean() * (1 / 3 - math.sin(angle) ** 2 / 2)
    distance = position.square().sum(0).sqrt()
    twice = (position[2] ** 2 - position[0] ** 2) / distance**2
    wanted = chi / 2 * math.sin(angle) ** 2 * (radius / distance) ** 2 * twice
    outside, inside = (distance > 1.4 * radius) & (distance < 3 * radius), distance < 0.7 * radius
    assert float((field - wanted)[outside].abs().max()) < 0.01
    assert float((field[inside] - chi / 6 * (3 * math.cos(angle) ** 2 - 1)).abs().max()) < 0.01


def test_turning_b0_is_turning_the_object(generator: torch.Generator) -> None:
    chi = torch.randn(6, 8, 5, dtype=torch.float64, generator=generator)
    size = (1.0, 0.7, 1.9)
    turned = chi.permute(2, 0, 1).flip(0)
    field = Dipole((6, 8, 5), size, OBLIQUE, dtype=torch.float64)(chi)
    direction = (-OBLIQUE[2], OBLIQUE[0], OBLIQUE[1])
    other = Dipole((5, 6, 8), (size[2], size[0], size[1]), direction, dtype=torch.float64)(turned)
    assert torch.allclose(other, field.permute(2, 0, 1).flip(0), atol=1e-12)


def test_full_transform(generator: torch.Generator) -> None:
    """Odd sides, where k and -k never coincide: the complex FFT with D as it is written."""
    sides, size = (5, 7, 9), (1.0, 0.7, 1.9)
    chi = torch.randn(sides, dtype=torch.float64, generator=generator)
    axes = [torch.fft.fftfreq(n, d=s, dtype=torch.float64) for n, s in zip(sides, size, strict=True)]
    k = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    along = torch.einsum("a,a...->...", torch.tensor(OBLIQUE, dtype=torch.float64), k)
    kernel = 1 / 3 - along**2 / k.square().sum(0)
    kernel[0, 0, 0] = 0
    wanted = torch.fft.ifftn(torch.fft.fftn(chi) * kernel)
    assert float(wanted.imag.abs().max()) < 1e-12
    assert torch.allclose(Dipole(sides, size, OBLIQUE, dtype=torch.float64)(chi), wanted.real, atol=1e-12)


def test_isotropic_tensor_is_a_scalar(generator: torch.Generator) -> None:
    sides, size = (6, 8, 5), (1.0, 0.7, 1.9)
    chi = torch.randn(sides, dtype=torch.float64, generator=generator)
    tensor = torch.stack([chi if a == c else torch.zeros_like(chi) for a, c in COMPONENTS])
    for direction in ((0, 0, 1), OBLIQUE):
        scalar = Dipole(sides, size, direction, dtype=torch.float64)(chi)
        assert torch.allclose(
            SusceptibilityTensor(sides, size, direction, dtype=torch.float64)(tensor), scalar, atol=1e-12
        )


def test_tensor_against_the_formula(generator: torch.Generator) -> None:
    """A dense evaluation of b·χb/3 - (k·b)(k·χb)/k² with the full transform."""
    sides, size = (5, 3, 7), (1.0, 0.7, 1.9)
    parts = torch.randn(6, *sides, dtype=torch.float64, generator=generator)
    full = torch.zeros(3, 3, *sides, dtype=torch.complex128)
    for part, (a, c) in zip(parts, COMPONENTS, strict=True):
        full[a, c] = full[c, a] = torch.fft.fftn(part)
    axes = [torch.fft.fftfreq(n, d=s, dtype=torch.float64) for n, s in zip(sides, size, strict=True)]
    k = torch.stack(torch.meshgrid(*axes, indexing="ij")).to(torch.complex128)
    b = torch.tensor(OBLIQUE, dtype=torch.complex128)
    applied = torch.einsum("ac...,c->a...", full, b)
    wanted = torch.einsum("a,a...->...", b, applied) / 3
    wanted -= torch.einsum("a,a...->...", b, k) * torch.einsum("a...,a...->...", k, applied) / k.pow(2).sum(0)
    wanted[0, 0, 0] = 0
    got = SusceptibilityTensor(sides, size, OBLIQUE, dtype=torch.float64)(parts)
    assert torch.allclose(got, torch.fft.ifftn(wanted).real, atol=1e-12)


def test_rest_is_the_field_of_the_off_diagonal(generator: torch.Generator) -> None:
    """B0 along the third axis sees χ33 by the scalar kernel and χ13, χ23 as what MoDL-QSM calls δB'."""
    sides, size = (6, 8, 5), (1.0, 1.0, 1.0)
    parts = torch.randn(6, *sides, dtype=torch.float64, generator=generator)
    model = SusceptibilityTensor(sides, size, dtype=torch.float64)
    rest = parts * torch.tensor([0, 0, 1, 0, 1, 0.0]).view(6, 1, 1, 1)
    joined = torch.stack([parts[5], model(rest)])
    got = dipole_and_rest(Dipole(sides, size, dtype=torch.float64))(joined)
    assert torch.allclose(got, model(parts), atol=1e-12)


def test_refusals() -> None:
    with pytest.raises(ShapeError):
        Dipole((8, 8), (1, 1))
    with pytest.raises(PlausibilityError):
        Dipole((8, 8, 8), (1, 1, 0))
    with pytest.raises(PlausibilityError):
        Dipole((8, 8, 8), (1, 1, 1), (0, 0, 0))
    with pytest.raises(PlausibilityError):
        Dipole((8, 8, 8), (1, 1, 1), padding=0.5)
    with pytest.raises(ShapeError):
        Dipole((8, 8, 8), (1, 1, 1))(torch.zeros(8, 8, 7))
