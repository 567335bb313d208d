"""What only finite differences and wavelets can show."""

from __future__ import annotations

import numpy as np
import pytest
import pywt
import torch

from fastqmri.core import PlausibilityError, ShapeError
from fastqmri.physics.encoding import FiniteDifferences, Wavelets


def test_differences_are_forward_and_end_in_zero():
    x = torch.tensor([[1.0, 4.0, 9.0], [0.0, 2.0, 7.0]])
    down, right = FiniteDifferences(2)(x)
    assert torch.equal(down, torch.tensor([[-1.0, -2.0, -2.0], [0.0, 0.0, 0.0]]))
    assert torch.equal(right, torch.tensor([[3.0, 5.0, 0.0], [2.0, 5.0, 0.0]]))


def test_norm_bounds_the_largest_singular_value():
    operator = FiniteDifferences(2)
    dense = operator(torch.eye(42, dtype=torch.float64).view(42, 6, 7)).reshape(42, -1)
    largest = float(torch.linalg.matrix_norm(dense, 2))
    assert 0.9 * operator.norm < largest <= operator.norm


@pytest.mark.parametrize(("voxels", "name"), [((16, 32), "db4"), ((16, 8, 24), "haar"), ((32, 16), "sym8")])
def test_coefficients_are_those_of_the_librarys_pyramid(voxels, name, generator):
    x = torch.randn(voxels, dtype=torch.complex128, generator=generator)
    operator = Wavelets(voxels, name, 2)
    theirs, _ = pywt.coeffs_to_array(pywt.wavedecn(x.numpy(), name, "periodization", level=2))
    np.testing.assert_allclose(operator(x).numpy(), theirs, atol=1e-12)


@pytest.mark.parametrize("voxels", [(13, 17), (5, 7, 9), (64, 64)])
def test_adjoint_undoes_the_transform(voxels, generator):
    x = torch.randn(2, *voxels, dtype=torch.complex128, generator=generator)
    operator = Wavelets(voxels)
    y = operator(x)
    assert torch.allclose(operator.adjoint(y), x, atol=1e-12)
    assert float(y.norm()) == pytest.approx(float(x.norm()), rel=1e-12)


def test_coarse_block_holds_a_constant_image():
    operator = Wavelets((32, 64), "db2", 3)
    y = operator(torch.ones(32, 64, dtype=torch.float64))
    assert operator.coarse == (4, 8)
    assert float(y[:4, :8].square().sum()) == pytest.approx(32 * 64)
    assert float(y.square().sum()) == pytest.approx(32 * 64)


def test_refuses_what_is_not_orthogonal_and_other_sides():
    for name in ("bior4.4", "daubechies"):
        with pytest.raises(PlausibilityError, match=name):
            Wavelets((16, 16), name)
    with pytest.raises(ShapeError, match="wavelet transform of"):
        Wavelets((16, 16))(torch.zeros(16, 15))
