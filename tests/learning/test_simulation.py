"""Simulated signals and k-space, against the equation written out."""

from __future__ import annotations

import math

import pytest
import torch

from fastqmri.core import MultiEchoSpinEcho, PlausibilityError, UnknownNameError, VariableFlipAngle
from fastqmri.learning.imperfections import Compose, Field, Motion, Noise, Phase, Untold
from fastqmri.learning.pools import PhantomPool
from fastqmri.learning.priors import LogUniform, Uniform
from fastqmri.learning.sampling import CoilBank, MaskBank, VariableDensityLines
from fastqmri.learning.simulation import KSpaceDraws, draw_voxels, lines_last
from fastqmri.physics.encoding import CartesianEncoding
from fastqmri.physics.signal import ExponentialDecay, SpoiledGradientEcho

ECHOES = ExponentialDecay(MultiEchoSpinEcho(echo_time=(0.01, 0.03, 0.06, 0.09)))
ANGLES = SpoiledGradientEcho(VariableFlipAngle(flip_angle=(0.05, 0.1, 0.2, 0.35), repetition_time=0.006))
VOXELS = (24, 20)


def seeded(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def pool() -> PhantomPool:
    return PhantomPool.of("training", VOXELS, ellipses=6, generator=seeded())


def draws(pool, model=ECHOES, **options) -> KSpaceDraws:
    options.setdefault("sampling", VariableDensityLines((2.0, 4.0)))
    return KSpaceDraws(pool, model, coils=CoilBank.of(VOXELS, (3,), generator=seeded(), sets=3), **options)


def test_voxels_are_the_model_of_the_prior():
    prior = LogUniform({"T1": (0.3, 3.0), "B1": (0.8, 1.2)})
    batch = draw_voxels(prior, ANGLES, None, None, seeded(), 50)
    tissue = prior.draw(50, seeded())
    assert torch.equal(batch.truth[1], tissue["T1"])
    assert torch.equal(batch.truth[0], torch.ones(50))
    assert torch.equal(batch.known["B1"], tissue["B1"])
    assert not bool(batch.noise.any())
    decay = torch.exp(-0.006 / tissue["T1"].double())
    for i, angle in enumerate(ANGLES.acquisition.flip_angle):
        a = angle * tissue["B1"].double()
        wanted = torch.sin(a) * (1 - decay) / (1 - decay * torch.cos(a))
        assert torch.allclose(batch.signals[i].double(), wanted, rtol=1e-3)
    with pytest.raises(UnknownNameError, match="T2"):
        draw_voxels(prior, ECHOES, None, None, seeded(), 5)


@pytest.mark.parametrize("kind", ["gaussian", "rician", "complex"])
def test_voxels_come_again_with_the_seed(kind):
    prior = LogUniform({"T1": (0.3, 3.0)})
    imperfect = Compose((Field("B1", 0.8, 1.2), Untold("B1")))
    one, two = (draw_voxels(prior, ANGLES, imperfect, Noise((20.0, 80.0), kind), seeded(), 30) for _ in "ab")
    assert torch.equal(one.signals, two.signals)
    assert one.known == {}
    assert one.signals.shape == (4, 30)
    assert one.signals.is_complex() is (kind == "complex")
    assert bool((one.truth[2] != 1).all())
    assert bool((one.noise > 0).all())


@pytest.mark.parametrize("model", [ECHOES, ANGLES])
@pytest.mark.parametrize("smooth", [0.0, 1.0])
def test_kspace_is_the_equation_object_by_object(pool, model, smooth):
    batch = draws(pool, model, snr=(math.inf, math.inf), smooth_phase=smooth).draw(5, seeded())
    assert batch.x.shape == (5, len(model.parameters), *VOXELS)
    assert batch.kspace.shape == (5, 4, 3, *VOXELS)
    assert batch.kspace.dtype == torch.complex64
    assert set(batch.acceleration.tolist()) <= {2.0, 4.0}
    for i in range(5):
        encoding = CartesianEncoding(batch.sensitivities[i], batch.sampling[i])
        images = model(batch.x[i])
        assert torch.allclose(batch.images[i], images, atol=1e-6)
        assert torch.allclose(batch.kspace[i], encoding(images.to(torch.complex64)), atol=1e-5)
        assert torch.allclose(batch.zero_filled()[i], encoding.adjoint(batch.kspace[i]), atol=1e-5)
        assert bool((batch.x[i, 0] > 0).eq(batch.mask[i]).all())
    power = batch.sensitivities.abs().square().sum(1)
    assert torch.allclose(power, torch.ones_like(power), atol=1e-4)


@pytest.mark.parametrize("poisson", [False, True])
def test_kspace_has_the_noise_that_the_snr_says(pool, poisson):
    masks = (
        MaskBank.poisson(VOXELS, (3.0,), generator=seeded(), masks=4)
        if poisson
        else VariableDensityLines((2.0,))
    )
    clean, noisy = (
        draws(pool, snr=(level, level), sampling=masks).draw(16, seeded()) for level in (math.inf, 20.0)
    )
    for i in range(16):
        level = float(clean.images[i, 0, clean.mask[i]].mean())
        assert float(noisy.noise[i]) == pytest.approx(level / 20, rel=1e-4)
    error = noisy.kspace - clean.kspace
    sampled = noisy.sampling[:, :, None].expand_as(error)
    assert not bool(error[~sampled].any())
    white = (error / noisy.noise.view(-1, 1, 1, 1, 1))[sampled]
    # at least 30 000 samples in each channel: the standard error of a standard deviation is 0.4 %
    assert len(white) > 20_000
    assert float(white.real.std()) == pytest.approx(1.0, abs=0.03)
    assert float(white.imag.std()) == pytest.approx(1.0, abs=0.03)
    assert abs(float((white.real * white.imag).mean())) < 0.03


def test_kspace_comes_again_with_the_seed_and_differs_with_another(pool):
    kinds = Compose((Field("B1", 0.7, 1.3), Motion(0.1, 4.0, (9.0, 9.0)), Phase(0.5)))
    source = draws(pool, ANGLES, imperfections=kinds, snr=(20.0, 60.0))
    one, two, other = source.draw(3, seeded()), source.draw(3, seeded()), source.draw(3, seeded(4))
    assert torch.equal(one.kspace, two.kspace)
    assert torch.equal(one.x, two.x)
    assert not torch.equal(one.kspace, other.kspace)
    assert torch.equal(one.known["B1"], one.x[:, 2])
    # the truth is the object at rest, without phase
    assert torch.allclose(one.images[:, 0].abs(), ANGLES(one.x.movedim(1, 0))[0] * one.mask, atol=1e-5)


def test_what_cannot_be_is_refused(pool):
    with pytest.raises(PlausibilityError, match="SNR"):
        draws(pool, snr=(0.0, 10.0))
    lacking = PhantomPool.of("training", VOXELS, ellipses=1, generator=seeded(), names=("M0", "T1"))
    with pytest.raises(UnknownNameError, match="T2"):
        draws(lacking).draw(1, seeded())


def test_uniform_prior_serves_too():
    batch = draw_voxels(Uniform.of(ECHOES), ECHOES, None, Noise((50.0, 50.0)), seeded(), 10)
    assert batch.signals.shape == (4, 10)


def test_fewer_samples_and_exchanged_axes_are_the_same_scans(pool):
    batch = draws(pool).draw(2, seeded())
    kept = batch.sampling & (torch.arange(VOXELS[0]) % 3 > 0)[:, None]
    fewer = batch.kept(kept)
    whole = batch.kspace * kept[:, :, None]
    assert torch.equal(fewer.kspace, whole)
    share = batch.sampling.flatten(1).sum(1) / kept.flatten(1).sum(1)
    assert torch.allclose(fewer.acceleration, batch.acceleration * share)
    turned = lines_last(batch)
    assert turned.sampling.shape[2:] == (1, VOXELS[0])
    assert torch.equal(lines_last(turned).kspace, turned.kspace)
    assert torch.allclose(turned.zero_filled().mT, batch.zero_filled(), atol=1e-5)
