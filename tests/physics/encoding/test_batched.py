"""The batched encoding against `CartesianEncoding`, object by object."""

from __future__ import annotations

import pytest
import torch

from fastqmri.core import ShapeError
from fastqmri.physics.encoding import BatchedEncoding, CartesianEncoding, synthetic_sensitivities

BATCH, CONTRASTS, COILS = 3, 4, 2


def case(voxels, seed=1, lines=False):
    generator = torch.Generator().manual_seed(seed)
    maps = torch.stack([synthetic_sensitivities(voxels, COILS, generator=generator) for _ in range(BATCH)])
    shape = (voxels[0], *(1,) * (len(voxels) - 1)) if lines else voxels
    mask = torch.rand((BATCH, CONTRASTS, *shape), generator=generator) < 0.4
    images = torch.randn((BATCH, CONTRASTS, *voxels), dtype=torch.complex128, generator=generator)
    return BatchedEncoding(maps.to(torch.complex128), mask), images


@pytest.mark.parametrize("voxels", [(8, 6), (9, 7), (6, 5, 4)])
@pytest.mark.parametrize("lines", [False, True])
def test_equals_the_operator_of_each_object(voxels, lines):
    batched, images = case(voxels, lines=lines)
    kspace = batched(images)
    assert kspace.shape == (BATCH, CONTRASTS, COILS, *voxels)
    for i in range(BATCH):
        one = CartesianEncoding(batched.sensitivities[i], batched.sampling[i])
        assert torch.allclose(kspace[i], one(images[i]), atol=1e-12)
        assert torch.allclose(batched.adjoint(kspace)[i], one.adjoint(kspace[i]), atol=1e-12)
        assert torch.allclose(batched.gram(images)[i], one.adjoint(one(images[i])), atol=1e-12)
    swapped = BatchedEncoding(batched.sensitivities.flip(0), batched.sampling)
    assert not torch.allclose(swapped(images), kspace, atol=1e-3)


def test_adjointness_and_gradients():
    batched, images = case((5, 4))
    other = torch.randn_like(batched(images))
    left = (batched(images).conj() * other).sum()
    right = (images.conj() * batched.adjoint(other)).sum()
    assert torch.allclose(left, right, atol=1e-10)
    few, some = case((3, 2))
    some = some.requires_grad_()
    assert torch.autograd.gradcheck(few, (some,))
    assert torch.autograd.gradcheck(few.gram, (some,))
    assert torch.autograd.gradcheck(few.adjoint, (few(some).detach().requires_grad_(),))


def test_what_does_not_fit_is_refused():
    batched, images = case((5, 4))
    with pytest.raises(ShapeError):
        BatchedEncoding(batched.sensitivities, batched.sampling[:1])
    with pytest.raises(ShapeError):
        BatchedEncoding(batched.sensitivities, batched.sampling[..., :3])
    with pytest.raises(ShapeError):
        batched(images[0])
    with pytest.raises(ShapeError):
        batched(images[..., :3])
    with pytest.raises(ShapeError):
        batched.adjoint(images)
