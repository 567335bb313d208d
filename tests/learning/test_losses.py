"""Losses against their formulas, gradients against closed forms."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from fastqmri.core import PlausibilityError, ShapeError, UnknownNameError
from fastqmri.learning.losses import Balanced, image_loss, kspace_loss, label_loss, total_variation
from fastqmri.physics.encoding import BatchedEncoding, CartesianEncoding, synthetic_sensitivities

SCALE = torch.tensor([2.0, 0.1], dtype=torch.float64)


def numbers(*shape, seed=1, dtype=torch.float64):
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def test_labels_are_compared_on_normalised_maps():
    one, other = numbers(2, 2, 3, 4), numbers(2, 2, 3, 4, seed=2)
    mask = numbers(2, 3, 4, seed=3) > 0
    total = 0.0
    for b in range(2):
        for p in range(2):
            for i in range(3):
                for j in range(4):
                    if mask[b, i, j]:
                        total += float((one[b, p, i, j] - other[b, p, i, j]) / SCALE[p]) ** 2
    wanted = total / (2 * int(mask.sum()))
    assert float(label_loss(one, other, SCALE, mask)) == pytest.approx(wanted)
    assert float(label_loss(one, other, SCALE, mask, squared=False)) == pytest.approx(math.sqrt(wanted))
    one.requires_grad_()
    (gradient,) = torch.autograd.grad(label_loss(one, other, SCALE), one)
    closed = 2 * (one - other) / SCALE.view(1, 2, 1, 1) ** 2 / one.numel()
    assert torch.allclose(gradient, closed.detach())
    assert torch.autograd.gradcheck(lambda x: label_loss(x, other, SCALE, mask, squared=False), (one,))
    assert torch.isfinite(
        torch.autograd.grad(label_loss(one, one.detach(), SCALE, squared=False), one)[0]
    ).all()


def test_images_are_compared_as_complex_numbers():
    one = numbers(2, 3, 4, 4, dtype=torch.complex128).requires_grad_()
    other = numbers(2, 3, 4, 4, seed=2, dtype=torch.complex128)
    value = image_loss(one, other)
    assert float(value.detach()) == pytest.approx(float((one - other).detach().abs().square().mean()))
    (gradient,) = torch.autograd.grad(value, one)
    assert torch.allclose(gradient, 2 * (one - other).detach() / one.numel())
    mask = torch.zeros(2, 4, 4, dtype=torch.bool)
    mask[1, 2, 3] = True
    assert float(image_loss(one, other, mask).detach()) == pytest.approx(
        float((one - other).detach()[1, :, 2, 3].abs().square().mean())
    )


def test_kspace_gradient_is_the_adjoint_of_the_residual():
    maps = torch.stack(
        [synthetic_sensitivities((6, 5), 2, generator=torch.Generator().manual_seed(s)) for s in (1, 2)]
    ).to(torch.complex128)
    encoding = BatchedEncoding(maps, numbers(2, 3, 6, 5) > 0)
    truth, guess = (numbers(2, 3, 6, 5, seed=s, dtype=torch.complex128) for s in (3, 4))
    measured = encoding(truth)
    guess.requires_grad_()
    value = kspace_loss(guess, measured, encoding)
    samples = int((measured != 0).sum())
    assert samples == 2 * int(encoding.sampling.sum())
    residual = (encoding(guess) - measured).detach()
    assert float(value.detach()) == pytest.approx(float(residual.abs().square().sum()) / samples)
    (gradient,) = torch.autograd.grad(value, guess)
    closed = 2 * encoding.adjoint(encoding(guess) - measured) / samples
    assert torch.allclose(gradient, closed.detach(), atol=1e-12)
    assert float(kspace_loss(truth, measured, encoding)) == pytest.approx(0.0, abs=1e-20)
    one = CartesianEncoding(maps[0], encoding.sampling[0])
    single = kspace_loss(guess[0], measured[0], one, samples=100)
    assert float(single) == pytest.approx(float((one(guess[0]) - measured[0]).abs().square().sum()) / 100)


def test_total_variation_is_the_sum_of_steps():
    maps = torch.zeros(1, 1, 5, 6, dtype=torch.float64)
    maps[..., 2:, :] = 3.0
    # one step of 3 in each of 6 columns, over 30 voxels
    assert float(total_variation(maps, epsilon=1e-12)) == pytest.approx(3 * 6 / 30, rel=1e-5)
    mask = torch.ones(1, 5, 6, dtype=torch.bool)
    mask[:, 2] = False
    assert float(total_variation(maps, mask)) == 0.0
    noisy = numbers(2, 2, 4, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: total_variation(x, epsilon=1e-2), (noisy,))
    flat = torch.ones(1, 1, 3, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(total_variation(flat), flat)
    assert not bool(gradient.any())
    volume = numbers(1, 1, 3, 4, 2)
    wanted = sum(float(volume.diff(dim=a).abs().sum()) for a in (2, 3, 4)) / 24
    assert float(total_variation(volume, epsilon=1e-14)) == pytest.approx(wanted, rel=1e-4)


def test_isotropic_variation_is_the_length_of_the_gradient():
    maps = numbers(2, 1, 4, 5)
    mask = torch.ones(2, 4, 5, dtype=torch.bool)
    mask[0, 2, 3] = False
    total = 0.0
    for b, i, j in itertools.product(range(2), range(3), range(4)):
        if mask[b, i, j] and mask[b, i + 1, j] and mask[b, i, j + 1]:
            here = float(maps[b, 0, i, j])
            total += math.hypot(float(maps[b, 0, i + 1, j]) - here, float(maps[b, 0, i, j + 1]) - here)
    found = float(total_variation(maps, mask, isotropic=True, epsilon=1e-14))
    assert found == pytest.approx(total / 39, rel=1e-4)


@pytest.mark.parametrize("mode", ["initial", "running"])
def test_balanced_terms_start_at_their_weights_and_go_on_from_a_checkpoint(mode):
    balance = Balanced({"label": 1.0, "kspace": 0.1}, mode, momentum=0.5)
    first = balance({"label": torch.tensor(40.0), "kspace": torch.tensor(3e-6)})
    assert float(first["label"]) == pytest.approx(1.0)
    assert float(first["kspace"]) == pytest.approx(0.1)
    restored = Balanced({"label": 1.0, "kspace": 0.1}, mode, momentum=0.5)
    restored.load_state_dict(balance.state_dict())
    value = torch.tensor(20.0, requires_grad=True)
    one, two = balance({"label": value})["label"], restored({"label": value})["label"]
    assert torch.equal(one, two)
    # running: (0.25 · 40 + 0.5 · 20) / 0.75
    size = 40.0 if mode == "initial" else 20 / 0.75
    assert float(one) == pytest.approx(20 / size)
    assert float(torch.autograd.grad(one, value)[0]) == pytest.approx(1 / size)
    fresh = Balanced({"label": 1.0, "kspace": 0.1}, mode, momentum=0.5)
    if mode == "initial":  # what a lost state would do
        assert not torch.equal(fresh({"label": value})["label"], one)
    balance.eval()
    before = balance.size.clone()
    balance({"label": torch.tensor(1e9)})
    assert torch.equal(before, balance.size)
    assert float(Balanced({"a": 2.0})({"a": torch.tensor(0.0)})["a"]) == 0.0


def test_wrong_use_is_refused():
    with pytest.raises(ShapeError, match="broadcasting"):
        image_loss(torch.zeros(2, 1, 3), torch.zeros(2, 4, 3))
    with pytest.raises(ShapeError):
        label_loss(torch.zeros(2, 2, 3), torch.zeros(1, 2, 3), SCALE)
    with pytest.raises(UnknownNameError):
        Balanced({"a": 1.0})({"b": torch.tensor(1.0)})
    with pytest.raises(PlausibilityError):
        Balanced({"a": -1.0})
    with pytest.raises(PlausibilityError):
        Balanced({"a": 1.0}, "running", 1.0)
