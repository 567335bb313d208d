"""Eigenvalues, directions and scalar measures of tensors against the dense eigensolver and closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from fastqmri.physics.signal import DiffusionTensor
from fastqmri.physics.signal.diffusion import principal_direction, tensor_eigenvalues
from physics.cases.diffusion import SHELLS
from physics.registry import BY_NAME


def matrices(elements: Tensor) -> Tensor:
    """(voxel, 3, 3) of (6, voxel)."""
    xx, xy, xz, yy, yz, zz = elements
    return torch.stack([xx, xy, xz, xy, yy, yz, xz, yz, zz], 1).view(-1, 3, 3)


def elements(matrix: Tensor) -> Tensor:
    return torch.stack([matrix[:, i, j] for i in range(3) for j in range(i, 3)])


def tensors(values: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Tensors (6, voxel) of eigenvalues (voxel, 3), and their eigenvectors, columns of (voxel, 3, 3)."""
    frames, _ = torch.linalg.qr(torch.randn(len(values), 3, 3, dtype=torch.float64, generator=generator))
    return elements(torch.einsum("vik,vk,vjk->vij", frames, values, frames)), frames


@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e-9])
def test_random_tensors(scale: float, generator: torch.Generator) -> None:
    d = scale * torch.randn(6, 5000, dtype=torch.float64, generator=generator)
    values, vectors = torch.linalg.eigh(matrices(d))
    largest = values.abs().amax(1)
    assert float(((tensor_eigenvalues(d) - values.flip(1).T).abs() / largest).max()) < 1e-12
    gap = (values[:, 2] - values[:, 1]) / largest
    along = (principal_direction(d) * vectors[:, :, 2].T).sum(0).abs()
    assert float((1 - along)[gap > 1e-3].abs().max()) < 1e-12


@pytest.mark.parametrize(
    "values",
    [(1.7, 0.4, 0.4), (1.2, 1.2, 0.3), (1.0, 1.0, 1.0), (2.0, 0.0, 0.0), (1.0, 1.0, 0.0), (0.5, 0.2, -0.4)],
    ids=["prolate", "oblate", "isotropic", "stick", "disk", "negative"],
)
def test_degenerate_tensors(values: tuple[float, float, float], generator: torch.Generator) -> None:
    wanted = 1e-3 * torch.tensor(values, dtype=torch.float64)
    d, frames = tensors(wanted.expand(500, 3), generator)
    found = tensor_eigenvalues(d)
    # a double root of the cubic is known to the square root of the machine's precision
    assert float((found - wanted[:, None]).abs().max()) < 3e-8 * 1e-3
    assert bool((found[0] >= found[1]).all() & (found[1] >= found[2]).all())
    direction = principal_direction(d)
    length = direction.norm(dim=0)
    assert bool((((length - 1).abs() < 1e-9) | (length == 0)).all())
    if values[0] > values[1]:
        along = (direction * frames[:, :, 0].T).sum(0).abs()
        assert float((1 - along).max()) < 1e-6
    elif values[0] > values[2]:
        across = (direction * frames[:, :, 2].T).sum(0).abs()
        assert float(across.max()) < 1e-3, "any direction in the plane will do, but it must lie in the plane"


@pytest.mark.parametrize("size", [0.0, 1e-3])
def test_exactly_isotropic_tensors_have_no_direction(size: float) -> None:
    d = torch.zeros(6, 3, dtype=torch.float64)
    d[[0, 3, 5]] = size
    assert torch.equal(tensor_eigenvalues(d), torch.full((3, 3), size, dtype=torch.float64))
    assert torch.equal(principal_direction(d), torch.zeros(3, 3, dtype=torch.float64))


def test_voxel_axes_are_kept(generator: torch.Generator) -> None:
    d = torch.randn(6, 3, 1, 5, dtype=torch.float64, generator=generator)
    assert torch.equal(tensor_eigenvalues(d).reshape(3, -1), tensor_eigenvalues(d.reshape(6, -1)))
    assert torch.equal(principal_direction(d).reshape(3, -1), principal_direction(d.reshape(6, -1)))


def test_single_precision(generator: torch.Generator) -> None:
    x = BY_NAME["dti"].tissue(generator, (997,))
    exact = tensor_eigenvalues(x[1:].float().double())
    assert float(((tensor_eigenvalues(x[1:].float()) - exact).abs() / exact[0]).max()) < 1e-5
    single, double = principal_direction(x[1:].float()), principal_direction(x[1:].float().double())
    along = (single * double).sum(0).abs()
    assert float((1 - along).max()) < 1e-5


def measures(x: Tensor) -> dict[str, Tensor]:
    return {d.parameter.name: d.evaluate(x)[0] for d in DiffusionTensor(SHELLS).derived}


def test_measures_against_the_eigensolver(generator: torch.Generator) -> None:
    x = BY_NAME["dti"].tissue(generator, (997,))
    values = torch.linalg.eigvalsh(matrices(x[1:]))
    mean = values.mean(1)
    spread = ((values - mean[:, None]) ** 2).sum(1)
    found = measures(x)
    wanted = {
        "FA": (1.5 * spread / (values**2).sum(1)).sqrt(),
        "MD": mean,
        "AD": values[:, 2],
        "RD": values[:, :2].mean(1),
    }
    assert found.keys() == wanted.keys()
    for name in wanted:
        torch.testing.assert_close(found[name], wanted[name], rtol=1e-10, atol=0)


@pytest.mark.parametrize(
    ("values", "anisotropy"),
    [
        ((1.0, 1.0, 1.0), 0.0),
        ((1.0, 0.0, 0.0), 1.0),
        ((1.0, 1.0, 0.0), math.sqrt(0.5)),
        ((3.0, 1.0, 1.0), math.sqrt(4 / 11)),
        ((0.0, 0.0, 0.0), 0.0),
    ],
    ids=["isotropic", "stick", "disk", "cigar", "nothing"],
)
def test_anisotropy_of_known_shapes(
    values: tuple[float, ...], anisotropy: float, generator: torch.Generator
) -> None:
    wanted = 1e-3 * torch.tensor(values, dtype=torch.float64)
    d, _ = tensors(wanted.expand(100, 3), generator)
    found = measures(torch.cat([torch.ones(1, 100, dtype=torch.float64), d]))
    torch.testing.assert_close(found["FA"], torch.full_like(found["FA"], anisotropy), rtol=0, atol=1e-6)
    mean = torch.full_like(found["MD"], float(wanted.mean()))
    # a double root is known to 1e-8, and one half of it may be clipped at zero
    torch.testing.assert_close(found["MD"], mean, rtol=3e-8, atol=1e-18)


def test_negative_eigenvalues_count_as_zero(generator: torch.Generator) -> None:
    d, _ = tensors(1e-3 * torch.tensor([1.0, 0.4, -0.2], dtype=torch.float64).expand(100, 3), generator)
    found = measures(torch.cat([torch.ones(1, 100, dtype=torch.float64), d]))
    values = 1e-3 * torch.tensor([1.0, 0.4, 0.0], dtype=torch.float64)
    fa = (1.5 * ((values - values.mean()) ** 2).sum() / (values**2).sum()).sqrt()
    torch.testing.assert_close(found["FA"], fa.expand(100), rtol=1e-9, atol=0)
    torch.testing.assert_close(found["MD"], values.mean().expand(100), rtol=1e-9, atol=0)
    torch.testing.assert_close(found["RD"], values[1:].mean().expand(100), rtol=1e-9, atol=0)
