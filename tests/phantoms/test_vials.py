from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch

from fastqmri.core import MultiEchoGradientEcho, MultiEchoSpinEcho, ShapeError
from fastqmri.estimators import CATALOGUE
from fastqmri.phantoms import LEAST_SIDE, VIALS, VialScan, typical_acquisition, vials
from fastqmri.physics.signal import ComplexGradientEcho, ExponentialDecay

SHAPE = (40, 37, 2)


def draw(name: str, seed: int = 1, **options: object) -> VialScan:
    entry = CATALOGUE[name]
    model = entry.build(typical_acquisition(entry.acquisition, entry.name))
    return vials(model, torch.Generator().manual_seed(seed), shape=SHAPE, **options)


@pytest.mark.parametrize("name", CATALOGUE)
def test_truth_explains_the_images(name):
    """Images are the model's signal of the truth, up to noise of the level that is stated."""
    phantom = draw(name, snr=1e6)
    entry = CATALOGUE[name]
    model = entry.build(phantom.measurement.acquisition)
    inside = phantom.measurement.mask
    signal = model.forward(phantom.truth[:, inside])
    if model.non_negative:  # such images are magnitudes
        signal = signal.abs()
    error = (phantom.measurement.data[:, inside] - signal).abs()
    assert float(error.max()) < 10 * phantom.noise + 1e-6 * float(signal.abs().max())


@pytest.mark.parametrize("name", CATALOGUE)
def test_truth_lies_inside_the_bounds_and_is_one_value_a_vial(name):
    phantom = draw(name)
    entry = CATALOGUE[name]
    model = entry.build(phantom.measurement.acquisition)
    inside = phantom.labels > 0
    for parameter, value in zip(model.parameters, phantom.truth, strict=True):
        low, high = parameter.bounds
        assert low <= float(value[inside].min())
        assert float(value[inside].max()) <= high
        assert not value[~inside].any()
        if parameter.nominal is None:
            assert all(len(value[phantom.labels == v].unique()) == 1 for v in range(1, VIALS + 2))


def test_vials_cover_the_prior_whatever_the_seed():
    for seed in range(5):
        phantom = draw("mese", seed)
        (t2,) = (p for p in ExponentialDecay(phantom.measurement.acquisition).parameters if p.name == "T2")
        row = [p.name for p in ExponentialDecay(phantom.measurement.acquisition).parameters].index("T2")
        held = sorted(float(phantom.truth[row][phantom.labels == v][0]) for v in range(1, VIALS + 1))
        steps = math.log(t2.prior[1] / t2.prior[0]) / VIALS
        assert [math.log(b / a) for a, b in pairwise(held)] == pytest.approx([steps] * 13)
        assert held[0] == pytest.approx(t2.prior[0] * math.exp(steps / 2))


def test_labels_are_vials_in_a_round_container():
    labels = draw("mese").labels
    assert labels.shape == SHAPE
    assert labels.dtype == torch.int16
    assert set(labels.unique().tolist()) == set(range(VIALS + 2))
    assert (labels[..., 0] == labels[..., 1]).all()
    assert not labels[0].any()
    assert not labels[:, 0].any()
    sizes = torch.stack([(labels == v).sum() for v in range(1, VIALS + 1)]).double()
    # the area of a vial, π 0.15² of the 2 × 2 square
    assert sizes / SHAPE[2] == pytest.approx(math.pi * 0.15**2 / 4 * SHAPE[0] * SHAPE[1], rel=0.25)


def test_smallest_phantom_has_all_vials_and_a_smaller_one_is_refused():
    model = ExponentialDecay(MultiEchoSpinEcho(echo_time=(0.01, 0.05)))
    phantom = vials(model, torch.Generator().manual_seed(0), shape=(LEAST_SIDE, LEAST_SIDE, 1))
    assert min(int((phantom.labels == v).sum()) for v in range(1, VIALS + 1)) >= 4
    with pytest.raises(ShapeError, match=str(LEAST_SIDE)):
        vials(model, torch.Generator(), shape=(LEAST_SIDE, LEAST_SIDE - 1, 1))


def test_noise_is_that_of_the_snr_and_rician_outside():
    phantom = draw("mese", snr=40.0)
    data, labels = phantom.measurement.data.double(), phantom.labels
    peaks = torch.stack([data[:, labels == v].mean(1).max() for v in range(1, VIALS + 1)])
    assert float(peaks.median()) / phantom.noise == pytest.approx(40.0, rel=0.02)
    # a Rayleigh distribution outside: the mean square is twice the variance of a channel
    outside = data[:, labels == 0]
    assert float((outside**2).mean() / 2) ** 0.5 == pytest.approx(phantom.noise, rel=0.02)
    assert float(outside.min()) >= 0
    # where the signal is strong, a magnitude's noise is that of one channel
    strong = data[0, labels == VIALS + 1]
    assert float(strong.std()) == pytest.approx(phantom.noise, rel=0.1)


def test_noise_can_be_gaussian():
    model = ExponentialDecay(MultiEchoSpinEcho(echo_time=(0.01, 0.05)))
    phantom = vials(model, torch.Generator().manual_seed(1), shape=SHAPE, rician=False)
    outside = phantom.measurement.data[:, phantom.labels == 0].double()
    assert float(outside.std()) == pytest.approx(phantom.noise, rel=0.05)
    assert abs(float(outside.mean())) < 0.1 * phantom.noise


def test_complex_images_have_noise_in_both_channels():
    model = ComplexGradientEcho(MultiEchoGradientEcho(echo_time=(0.005, 0.01, 0.015)))
    phantom = vials(model, torch.Generator().manual_seed(1), shape=SHAPE)
    data = phantom.measurement.data
    assert data.dtype == torch.complex64
    outside = data[:, phantom.labels == 0]
    for channel in (outside.real, outside.imag):
        assert float(channel.double().std()) == pytest.approx(phantom.noise, rel=0.05)


def test_tensors_are_those_of_tissue():
    """Positive definite, with the trace of brain, from isotropic (the filling) to anisotropic."""
    phantom = draw("dti")
    names = [p.name for p in CATALOGUE["dti"].build(phantom.measurement.acquisition).parameters]
    element = {name: phantom.truth[names.index(name)] for name in names}
    full = torch.stack([torch.stack([element["D" + "".join(sorted(a + b))] for b in "xyz"]) for a in "xyz"])
    vial = torch.stack([full[:, :, phantom.labels == v][..., 0] for v in range(1, VIALS + 2)])
    values = torch.linalg.eigvalsh(vial)
    assert float(values.min()) > 0
    assert values.sum(1) == pytest.approx(2.1e-3, rel=1e-6)
    assert float((values[-1].max() - values[-1].min()) / values[-1].mean()) < 1e-6
    assert float((values[:-1, 2] / values[:-1, 0]).max()) > 3


def test_known_maps_are_given_and_vary_smoothly():
    phantom = draw("vfa")
    names = [p.name for p in CATALOGUE["vfa"].build(phantom.measurement.acquisition).parameters]
    b1 = phantom.measurement.known["B1"]
    inside = phantom.labels > 0
    assert b1[inside].equal(phantom.truth[names.index("B1")][inside].float())
    assert 0.8 < float(b1[inside].min()) < float(b1[inside].max()) < 1.3
    assert float((b1[1:] - b1[:-1]).abs().max()) < 0.05


@pytest.mark.parametrize("name", ["vfa", "megre-complex", "dti"])
def test_same_seed_same_bytes(name):
    first, second, other = draw(name, 1), draw(name, 1), draw(name, 2)
    assert first.measurement.data.equal(second.measurement.data)
    assert first.truth.equal(second.truth)
    assert not first.measurement.data.equal(other.measurement.data)


def test_global_randomness_is_left_alone():
    state = torch.random.get_rng_state()
    draw("mese")
    assert torch.random.get_rng_state().equal(state)
