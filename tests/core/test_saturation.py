"""Saturation experiments: what is accepted, what is refused, what one number for all means."""

from __future__ import annotations

import pytest

from fastqmri.core import AcquisitionError, PlausibilityError, SaturationTransfer, ZSpectrum

SOUND = {
    "offset": (8.0, 10.0, 10.0),
    "saturation_b1": (1.0, 1.5, 2.0),
    "pulse_duration": 0.5,
    "recovery_time": "3.5 s",
    "field_strength": 3.0,
}


def test_one_number_serves_all_contrasts() -> None:
    acquisition = SaturationTransfer(**SOUND)
    assert acquisition.pulse_duration == (0.5, 0.5, 0.5)
    assert acquisition.recovery_time == (3.5, 3.5, 3.5)
    assert acquisition.contrasts == 3


def test_subset_leaves_the_pulse_shape_alone() -> None:
    acquisition = SaturationTransfer(**SOUND, pulse_shape=(0.5, 1.0, 0.5))
    kept = acquisition.subset(lambda i: i > 0)
    assert kept.offset == (10.0, 10.0)
    assert kept.pulse_shape == (0.5, 1.0, 0.5)


@pytest.mark.parametrize(
    "wrong",
    [
        {"offset": (1024.0, 1280.0, 1280.0)},  # Hz
        {"saturation_b1": (1e-6, 1.5e-6, 2e-6)},  # T
        {"pulse_duration": 500.0},  # ms
        {"recovery_time": 3500.0},
        {"field_strength": 127.7},  # MHz
        {"flip_angle": 60.0},  # degrees
        {"echo_time": 20.0},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_other_units_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises((PlausibilityError, AcquisitionError)):
        SaturationTransfer(**{**SOUND, **wrong})


@pytest.mark.parametrize(
    "wrong",
    [
        {"saturation_b1": (1.0, 2.0)},
        {"offset": (8.0, 8.0, 8.0), "saturation_b1": 1.0},
        {"pulse_shape": (0.0, 0.0)},
        {"pulses": 0},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_contradictions_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(AcquisitionError):
        SaturationTransfer(**{**SOUND, **wrong})


def test_spectrum_guards_its_units() -> None:
    assert ZSpectrum(offset=("-4ppm", "0ppm", "4ppm")).offset == (-4.0, 0.0, 4.0)
    with pytest.raises(PlausibilityError):
        ZSpectrum(offset=(-510.0, 0.0, 510.0))
    with pytest.raises(PlausibilityError):
        ZSpectrum(offset=(-4.0, 0.0, 4.0), saturation_b1=2e-6)
    with pytest.raises(AcquisitionError):
        ZSpectrum(offset=(-4.0, 4.0))
