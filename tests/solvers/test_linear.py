"""Elementwise linear algebra against the dense routines of PyTorch and numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from fastqmri.solvers.linear import cholesky, inverse, regression, solve, substitute
from fastqmri.solvers.solution import propagate, symmetric, variance

VOXELS = 101


def positive(size: int, generator: torch.Generator, decades: float = 0.0) -> Tensor:
    """(size, size, voxel) positive definite; rows and columns scaled over some decades."""
    root = torch.randn(VOXELS, size, size + 2, dtype=torch.float64, generator=generator)
    matrix = root @ root.transpose(1, 2)
    scale = 10 ** (decades * (torch.rand(VOXELS, size, dtype=torch.float64, generator=generator) - 0.5))
    return (matrix * scale[:, :, None] * scale[:, None]).permute(1, 2, 0).contiguous()


def dense(matrix: Tensor) -> Tensor:
    return matrix.permute(2, 0, 1)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7])
def test_factor(size: int, generator: torch.Generator) -> None:
    matrix = positive(size, generator)
    factor = cholesky(matrix)
    wanted = torch.linalg.cholesky(dense(matrix))
    for i in range(size):
        for j in range(i + 1):
            found = 1 / factor[i][j] if i == j else factor[i][j]
            torch.testing.assert_close(found, wanted[:, i, j], rtol=1e-10, atol=1e-12)
    right = torch.randn(size, VOXELS, dtype=torch.float64, generator=generator)
    found = torch.einsum("ijv,jv->iv", matrix, substitute(factor, right))
    torch.testing.assert_close(found, right, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("decades", [0.0, 12.0])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 7])
def test_solve_and_inverse(size: int, decades: float, generator: torch.Generator) -> None:
    matrix = positive(size, generator, decades)
    right = torch.randn(size, VOXELS, dtype=torch.float64, generator=generator)
    # the diagonal taken to one, what is left is well conditioned, whatever the units were
    scale = dense(matrix).diagonal(dim1=1, dim2=2).rsqrt()
    scaled = dense(matrix) * scale[:, :, None] * scale[:, None]
    wanted = torch.linalg.solve(scaled, (right.T * scale)[:, :, None])[:, :, 0] * scale
    found = solve(matrix, right).T
    size_of = (torch.linalg.inv(scaled).abs() @ (right.T * scale).abs()[:, :, None])[:, :, 0] * scale
    assert float(((found - wanted).abs() / size_of).max()) < 1e-11
    inverted = dense(inverse(matrix)) / scale[:, :, None] / scale[:, None]
    torch.testing.assert_close(inverted, torch.linalg.inv(scaled), rtol=1e-9, atol=1e-9)
    assert torch.equal(dense(inverse(matrix)).isfinite().all(), torch.tensor(True))


def test_singular_matrices_have_no_finite_variances() -> None:
    matrix = torch.ones(2, 2, 3, dtype=torch.float64)
    assert float(inverse(matrix).diagonal().min()) > 1e100
    nothing = torch.zeros(2, 2, 3, dtype=torch.float64)
    assert float(inverse(nothing).diagonal().min()) > 1e100


@pytest.mark.parametrize("shared", [True, False])
def test_regression(shared: bool, generator: torch.Generator) -> None:
    samples, unknowns = 9, 3
    design = torch.randn(samples, unknowns, VOXELS, dtype=torch.float64, generator=generator)
    if shared:
        design = design[:, :, :1].expand(-1, -1, VOXELS)
    observed = torch.randn(samples, VOXELS, dtype=torch.float64, generator=generator)
    weights = 0.1 + torch.rand(samples, VOXELS, dtype=torch.float64, generator=generator)
    variances = 0.1 + torch.rand(samples, VOXELS, dtype=torch.float64, generator=generator)
    estimate, covariance = regression(design[:, :, 0] if shared else design, observed, weights, variances)
    for v in range(VOXELS):
        x, w = design[:, :, v].numpy(), weights[:, v].numpy()
        root = np.sqrt(w)
        wanted = np.linalg.lstsq(x * root[:, None], observed[:, v].numpy() * root, rcond=None)[0]
        np.testing.assert_allclose(estimate[:, v], wanted, rtol=1e-9, atol=1e-11)
        gain = np.linalg.inv((x * w[:, None]).T @ x) @ (x * w[:, None]).T
        np.testing.assert_allclose(
            covariance[:, :, v], gain @ np.diag(variances[:, v]) @ gain.T, rtol=1e-8, atol=1e-10
        )


def test_honest_weights_leave_the_plain_covariance(generator: torch.Generator) -> None:
    design = torch.randn(9, 3, dtype=torch.float64, generator=generator)
    variances = 0.1 + torch.rand(9, VOXELS, dtype=torch.float64, generator=generator)
    _, covariance = regression(design, torch.zeros_like(variances), 1 / variances, variances)
    plain = torch.linalg.inv(torch.einsum("si,sv,sj->vij", design, 1 / variances, design))
    torch.testing.assert_close(dense(covariance), plain, rtol=1e-9, atol=1e-12)


def test_samples_of_weight_zero_do_not_count(generator: torch.Generator) -> None:
    design = torch.randn(9, 3, dtype=torch.float64, generator=generator)
    observed = torch.randn(9, VOXELS, dtype=torch.float64, generator=generator)
    weights = torch.ones_like(observed)
    weights[4:6] = 0
    found = regression(design, observed, weights, torch.ones_like(observed))
    kept = [0, 1, 2, 3, 6, 7, 8]
    ones = torch.ones(7, VOXELS, dtype=torch.float64)
    for a, b in zip(found, regression(design[kept], observed[kept], ones, ones), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("empty", [False, True], ids=["full", "sparse"])
def test_propagation_of_covariances(empty: bool, generator: torch.Generator) -> None:
    covariance = positive(3, generator)
    jacobian = torch.randn(4, 3, VOXELS, dtype=torch.float64, generator=generator)
    if empty:
        jacobian[1, 2] = 0
        jacobian[3] = 0
        jacobian[2, :, ::2] = 0
    wanted = torch.einsum("ikv,klv,jlv->ijv", jacobian, covariance, jacobian)
    torch.testing.assert_close(propagate(jacobian, covariance), wanted, rtol=1e-12, atol=1e-12)
    for i in range(4):
        torch.testing.assert_close(variance(jacobian[i], covariance), wanted[i, i], rtol=1e-11, atol=1e-12)


def test_packed_triangles() -> None:
    packed = [torch.tensor([float(k)]) for k in range(6)]
    wanted = torch.tensor([[0.0, 1.0, 3.0], [1.0, 2.0, 4.0], [3.0, 4.0, 5.0]])[:, :, None]
    assert torch.equal(symmetric(packed, 3), wanted)
    assert torch.equal(symmetric(torch.stack(packed), 3), wanted)
