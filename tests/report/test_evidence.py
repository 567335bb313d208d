"""Voxels, curves and residuals that the report shows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from fastqmri.core import (
    Flag,
    MultiEchoSpinEcho,
    PulsedGradient,
    QuantitativeMagnetizationTransfer,
    ZSpectrum,
)
from fastqmri.phantoms import typical_acquisition
from fastqmri.report import evidence
from fastqmri.report.statistics import Numbers
from report.samples import DIFFUSION, GRADIENT_ECHOES, NOISE, flagged, sample


def test_voxels_span_the_range_and_include_flagged_ones():
    content = sample()
    marked = content.maps.flags.clone()
    marked[3, 4, 1], marked[5, 5, 2] = int(Flag.AT_BOUND), int(Flag.MODEL_MISFIT)
    numbers = Numbers(replace(content.maps, flags=marked))
    chosen = evidence.choose_voxels(numbers, "T1")
    values = numbers.values("T1").ravel()[chosen]
    assert 6 <= len(chosen) <= 12
    assert len(set(chosen)) == len(chosen)
    assert (np.diff(values[:8]) > 0).all()
    assert values[0] < np.quantile(numbers.values("T1"), 0.05)
    assert np.ravel_multi_index((3, 4, 1), (12, 10, 3)) in chosen
    assert np.ravel_multi_index((5, 5, 2), (12, 10, 3)) in chosen


def test_curve_runs_through_the_model_at_measured_points():
    content = sample(shape=(4,))
    label, fits = evidence.fits(content, Numbers(content.maps))
    assert label == "flip angle (deg)"
    for fit in fits:
        assert len(fit.curve) == 200
        at_points = np.interp(fit.x, fit.curve_x, fit.curve)
        np.testing.assert_allclose(at_points, fit.measured, atol=5 * NOISE)
        assert not fit.excluded.any()


def test_known_maps_enter_the_curve():
    b1 = torch.full((4,), 0.8, dtype=torch.float64)
    content = sample(shape=(4,), known={"B1": b1})
    index = torch.arange(4)
    parameters = evidence.complete_parameters(content, index)
    torch.testing.assert_close(parameters[2], b1)
    without = replace(content, measurement=replace(content.measurement, known={}))
    assert float(evidence.complete_parameters(without, index)[2, 0]) == 1.0


def test_no_curve_without_all_parameters():
    content = sample(shape=(4,))
    rows = [content.maps.names.index("T1")]
    only = replace(
        content.maps,
        parameters=tuple(content.maps.parameters[i] for i in rows),
        value=content.maps.value[rows],
        standard_deviation=content.maps.standard_deviation[rows],
    )
    partial = replace(content, maps=only, shown=("T1",))
    assert evidence.fits(partial, Numbers(only)) == ("", [])
    assert evidence.residuals_by_contrast(partial, Numbers(only)) is None


def test_complex_signals_are_drawn_as_magnitudes():
    content = sample("megre-complex", GRADIENT_ECHOES, (3, 3))
    _, fits = evidence.fits(content, Numbers(content.maps))
    assert all((fit.measured >= 0).all() and (fit.curve >= 0).all() for fit in fits)


def test_echo_trains_are_drawn_echo_by_echo():
    train = MultiEchoSpinEcho(echo_time=tuple(f"{10 * i}ms" for i in range(1, 17)))
    content = sample("mese-stimulated", train, (3, 3))
    _, fits = evidence.fits(content, Numbers(content.maps))
    for fit in fits:
        np.testing.assert_array_equal(fit.curve_x, fit.x)
        np.testing.assert_allclose(fit.curve, fit.measured, atol=5 * NOISE)


def test_directions_are_sorted_by_shell_and_angle():
    content = sample("dti", DIFFUSION, (3, 3))
    label, fits = evidence.fits(content, Numbers(content.maps))
    assert "angle" in label
    for fit in fits:
        assert fit.stepped
        assert set(fit.x[:2]) == {0.0, 1.0}, "unweighted volumes come first"
        assert sorted(fit.x) == list(range(14))
        # Diffusion is fastest along the main direction, so the signal is lowest at the smallest angle.
        assert fit.curve[2] < fit.curve[-1]


def test_clipped_and_impossible_samples_are_marked():
    signal = torch.tensor([10.0, 4095.0, torch.nan, -1.0, 4095.0])
    assert evidence.excluded_samples(signal, 4095.0, True).tolist() == [False, True, True, True, True]
    assert evidence.excluded_samples(signal, float("inf"), False).tolist() == [
        False,
        False,
        True,
        False,
        False,
    ]


def test_clipping_level_is_given_or_found():
    content = sample(shape=(6, 6))
    assert evidence.clipping_level(content.measurement) == float("inf")
    assert evidence.clipping_level(replace(content.measurement, saturation=900.0)) == 900.0
    data = content.measurement.data
    full = (data / data.quantile(0.9) * 4095).round().clamp_max(4095)
    assert evidence.clipping_level(replace(content.measurement, data=full)) == 4095.0


@pytest.mark.parametrize(
    ("name", "acquisition"),
    [("dti", DIFFUSION), ("megre-complex", GRADIENT_ECHOES)],
    ids=["tensor", "complex"],
)
def test_residuals_are_in_units_of_the_noise(name, acquisition):
    content = sample(name, acquisition, (20, 20), noise=NOISE)
    contrasts = evidence.residuals_by_contrast(content, Numbers(content.maps))
    assert contrasts.residuals.shape[0] == len(contrasts.names) == acquisition.contrasts
    assert 0.5 < contrasts.residuals.std() < 1.0
    assert np.abs(contrasts.residuals.mean(axis=1)).max() < 0.3


def test_residuals_need_a_trusted_voxel():
    content = flagged(sample(shape=(4,)), int(Flag.LOW_SNR))
    assert evidence.residuals_by_contrast(content, Numbers(content.maps)) is None


@pytest.mark.parametrize(
    ("kind", "label", "name"),
    [
        (QuantitativeMagnetizationTransfer, "offset (Hz)", "10000"),
        (ZSpectrum, "offset (ppm)", "100"),
        (PulsedGradient, "gradient amplitude (mT/m)", "400"),
    ],
)
def test_what_varies_is_named_in_its_own_unit(kind, label, name):
    found, names = evidence.contrast_names(typical_acquisition(kind))
    assert found == label
    assert name in names
