"""Ellipse phantoms, and what a scanner measures of them, against sums written out."""

from __future__ import annotations

import cmath
import math

import pytest
import torch

from fastqmri.core import MultiEchoSpinEcho, PlausibilityError, UnknownNameError, VariableFlipAngle
from fastqmri.estimators import CATALOGUE
from fastqmri.phantoms import acquire, ellipses, typical_acquisition
from fastqmri.physics.encoding import CartesianEncoding, synthetic_sensitivities, variable_density_lines
from fastqmri.physics.signal import ApparentDiffusion, ExponentialDecay, SpoiledGradientEcho

ECHOES = MultiEchoSpinEcho(echo_time=(0.007, 0.016, 0.025, 0.034))
SHAPES = ((33, 28), (64, 64), (17, 22, 9))


def seeded(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def encoding(voxels, generator, coils=3, contrasts=4):
    lines = variable_density_lines(voxels[0], contrasts, 2.0, generator=generator)
    mask = lines.view(contrasts, -1, *(1,) * (len(voxels) - 1)).expand(contrasts, *voxels)
    return CartesianEncoding(synthetic_sensitivities(voxels, coils, generator=generator), mask)


@pytest.mark.parametrize("voxels", SHAPES)
@pytest.mark.parametrize("supersampling", [1, 3])
def test_same_seed_same_bytes_another_seed_another_object(voxels, supersampling):
    def draw(seed):
        phantom = ellipses(voxels, generator=seeded(seed), supersampling=supersampling)
        model = ExponentialDecay(ECHOES)
        source = seeded(seed + 1)
        return phantom, acquire(phantom, model, encoding(voxels, source), snr=60, generator=source)

    (one, first), (two, second), (other, _) = draw(1), draw(1), draw(2)
    assert all(torch.equal(one.maps[n], two.maps[n]) for n in one.maps)
    assert torch.equal(one.labels, two.labels)
    assert torch.equal(first.data, second.data)
    assert one.drawn == two.drawn
    assert one.drawn != other.drawn
    assert not torch.equal(one.maps["T2"], other.maps["T2"])


@pytest.mark.parametrize("voxels", SHAPES)
def test_tissues_keep_to_their_ranges_with_texture_of_the_size_asked_for(voxels):
    phantom = ellipses(voxels, generator=seeded(), texture=0.05)
    assert 0.3 < float(phantom.mask.double().mean()) < 0.9
    for name, (low, high) in {"M0": (0.3, 1.0), "T1": (0.5, 2.5), "T2": (0.015, 0.1)}.items():
        inside = phantom.maps[name][phantom.mask]
        assert low * 0.85 <= float(inside.min())
        assert float(inside.max()) <= high * 1.15
        assert not phantom.maps[name][~phantom.mask].any()
    relative = []
    for label in phantom.labels.unique():
        if label and int((phantom.labels == label).sum()) > 30:
            here = phantom.maps["T2"][phantom.labels == label]
            nominal = float(phantom.values["T2"][int(label) - 1])
            relative.append(here / nominal - 1)
    spread = float(torch.cat(relative).square().mean().sqrt())
    assert 0.025 < spread < 0.1
    assert float(phantom.maps["T2star"][phantom.mask].max()) < 0.1


def test_texture_is_smooth_and_can_be_left_out():
    plain = ellipses(generator=seeded(), texture=0.0)
    for label in plain.labels.unique()[1:]:
        here = plain.maps["T2"][plain.labels == label]
        assert torch.allclose(here, here[0].expand_as(here), rtol=1e-12)
    textured = ellipses(generator=seeded(), texture=0.05)
    ratio = (textured.maps["T2"] / plain.maps["T2"])[plain.mask] - 1
    factor = torch.where(plain.mask, textured.maps["T2"] / plain.maps["T2"].clamp_min(1e-9) - 1, torch.nan)
    steps = (factor[1:] - factor[:-1]).flatten()
    steps = steps[~steps.isnan()]
    assert float(steps.std()) < 0.4 * float(ratio.std())  # white texture would give 1.4


@pytest.mark.parametrize("voxels", [(32, 27), (16, 15, 9)])
def test_shares_of_a_voxel_add_up_and_its_signals_too(voxels):
    """Each fine voxel on its own, averaged by hand, against shares times signals."""
    fine, coarse = (
        ellipses(v, generator=seeded(), texture=0.0, supersampling=s)
        for v, s in ((tuple(3 * side for side in voxels), 1), (voxels, 3))
    )
    total = coarse.fractions.sum(0)
    assert float(total.max()) <= 1 + 1e-6
    assert torch.equal(total > 0, coarse.mask)
    assert float(coarse.pure.sum() / coarse.mask.sum()) > 0.3
    assert int((coarse.mask & ~coarse.pure).sum()) > 20
    model = ExponentialDecay(ECHOES)
    wanted = fine.signal(model)
    for axis in range(1, len(voxels) + 1):
        wanted = wanted.unflatten(axis, (-1, 3)).mean(axis + 1)
    got = coarse.signal(model)
    assert torch.allclose(got[:, coarse.mask], wanted[:, coarse.mask], atol=1e-6)
    mean_model = model.forward(coarse.parameters(model)) * coarse.mask
    mixed = coarse.mask & ~coarse.pure
    assert float((mean_model - got)[:, mixed].abs().max()) > 1e-3  # a mean T2 is not the sum of decays
    assert torch.allclose(mean_model[:, coarse.pure], got[:, coarse.pure], atol=1e-6)


@pytest.mark.parametrize("voxels", [(9, 6), (5, 4, 3)])
def test_kspace_is_the_sum_over_voxels(voxels, generator):
    """E applied voxel by voxel with exponentials from the book, no FFT."""
    phantom = ellipses(voxels, generator=seeded(), count=(2, 3))
    acquisition = VariableFlipAngle(flip_angle=(0.05, 0.2, 0.4), repetition_time=0.015)
    operator = CartesianEncoding(
        synthetic_sensitivities(voxels, 2, generator=generator),
        torch.rand(3, *voxels, generator=generator) < 0.6,
    )
    measured = acquire(phantom, SpoiledGradientEcho(acquisition), operator, snr=math.inf, generator=generator)
    maps, mask = phantom.maps, phantom.mask
    places = [tuple(p) for p in torch.nonzero(torch.ones(voxels)).tolist()]
    scale = 1 / math.sqrt(len(places))
    for contrast, angle in enumerate(acquisition.flip_angle):
        for k in places[:: max(1, len(places) // 9)]:
            for coil in range(2):
                total = 0j
                for r in places:
                    if not mask[r]:
                        continue
                    e = math.exp(-0.015 / float(maps["T1"][r]))
                    a = angle * float(maps["B1"][r])
                    s = float(maps["M0"][r]) * math.sin(a) * (1 - e) / (1 - e * math.cos(a))
                    turn = sum((k[i] - n // 2) * (r[i] - n // 2) / n for i, n in enumerate(voxels))
                    total += s * complex(operator.sensitivities[coil][r]) * cmath.exp(-2j * math.pi * turn)
                wanted = scale * total if operator.mask[contrast][k] else 0
                assert abs(complex(measured.data[contrast, coil][k]) - wanted) < 1e-6


def test_noise_is_as_strong_as_asked_for_and_only_where_something_was_measured():
    """4 contrasts x 3 coils x about 2000 samples: the deviation is known to 0.5 %."""
    phantom = ellipses(generator=seeded())
    model = ExponentialDecay(ECHOES)
    operator = encoding((64, 64), seeded(5))
    noisy = acquire(phantom, model, operator, snr=40, generator=seeded(6))
    clean = acquire(phantom, model, operator, snr=math.inf, generator=seeded(6))
    first = phantom.maps["M0"] * torch.exp(-0.007 / phantom.maps["T2"].clamp_min(1e-9))
    sigma = float(first[phantom.mask].mean()) / 40
    assert noisy.noise == pytest.approx(sigma, rel=1e-6)
    assert clean.noise is None
    sampled = operator.sampling.mask.expand_as(noisy.data)
    difference = (noisy.data - clean.data)[sampled]
    for channel in (difference.real, difference.imag):
        assert float(channel.std()) == pytest.approx(sigma, rel=0.02)
        assert abs(float(channel.mean())) < 4 * sigma / math.sqrt(len(channel))
    correlation = float((difference.real * difference.imag).mean()) / sigma**2
    assert abs(correlation) < 0.03
    assert not noisy.data[~sampled].any()


def test_images_without_an_encoding_have_the_same_noise():
    phantom = ellipses((96, 96), generator=seeded())
    model = ExponentialDecay(ECHOES)
    noisy = acquire(phantom, model, snr=40, generator=seeded(6))
    assert noisy.encoding is None
    assert not noisy.data.is_complex()
    background = noisy.data[:, ~phantom.mask]  # Rayleigh: mean square 2 σ²
    assert float(background.square().mean() / 2) ** 0.5 == pytest.approx(noisy.noise, rel=0.02)
    entry = CATALOGUE["megre-complex"]
    complex_model = entry.build(typical_acquisition(entry.acquisition, entry.name))
    images = acquire(phantom, complex_model, snr=40, generator=seeded(6))
    assert images.data.is_complex()
    outside = images.data[:, ~phantom.mask]
    assert float(outside.real.std()) == pytest.approx(images.noise, rel=0.02)


@pytest.mark.parametrize(
    "name",
    ["vfa", "irt1", "mese", "mese-stimulated", "megre", "megre-complex", "fingerprinting", "bloch", "b1-afi"],
)
def test_models_find_their_parameters(name):
    entry = CATALOGUE[name]
    model = entry.build(typical_acquisition(entry.acquisition, entry.name))
    phantom = ellipses((24, 21), generator=seeded())
    x = phantom.parameters(model)
    assert x.shape == (len(model.parameters), 24, 21)
    assert torch.isfinite(x).all()
    assert torch.isfinite(model.forward(x)).all()
    assert not x[0][~phantom.mask].any()
    measured = acquire(phantom, model, snr=100, generator=seeded())
    assert set(measured.known) == {p.name for p in model.parameters if p.nominal is not None}
    if "B1" in measured.known:
        assert torch.allclose(
            measured.known["B1"].double()[phantom.mask], phantom.maps["B1"][phantom.mask], atol=1e-6
        )


def test_what_the_phantom_lacks_is_refused():
    phantom = ellipses((24, 21), generator=seeded())
    entry = CATALOGUE["adc"]
    model = entry.build(typical_acquisition(entry.acquisition, entry.name))
    assert isinstance(model, ApparentDiffusion)
    with pytest.raises(UnknownNameError, match="ADC"):
        phantom.parameters(model)
    with pytest.raises(PlausibilityError, match="sides"):
        ellipses((24,), generator=seeded())
    with pytest.raises(PlausibilityError, match="SNR"):
        acquire(phantom, ExponentialDecay(ECHOES), snr=0, generator=seeded())
