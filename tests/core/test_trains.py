"""Trains of many excitations refuse what no scanner could have been told, and survive being written down."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from fastqmri.core import AcquisitionError, Fingerprinting, PlausibilityError, RefocusingTrain, UnitError

GOOD = {"flip_angle": (0.2, 0.0, 0.7), "repetition_time": 0.012, "echo_time": 0.002}
BEATS = {
    **GOOD,
    "segment_length": (2, 1),
    "preparation": ("inversion", "t2prep"),
    "preparation_time": (0.02, 0.05),
    "rr_interval": (0.9, 0.9),
}


def test_numbers_given_once_serve_all_excitations() -> None:
    train = Fingerprinting(**GOOD, inversion_time="20ms")
    assert train.repetition_time == (0.012,) * 3
    assert train.rf_phase == (0.0,) * 3
    assert train.contrasts == 3
    assert train.duration == pytest.approx(0.02 + 3 * 0.012)
    assert Fingerprinting(**BEATS).duration == pytest.approx(0.9 + 0.05 + 0.012)
    assert train.differentiable(inversion_time=torch.tensor(0.03)).settled().inversion_time == pytest.approx(
        0.03
    )


@pytest.mark.parametrize(
    "train",
    [
        Fingerprinting(**GOOD),
        Fingerprinting(**GOOD, spoiling="rf", rf_phase=(0.0, 1.0, 2.0)),
        Fingerprinting(**BEATS),
        RefocusingTrain(refocusing_angle=("150deg", 2.0), echo_spacing="9ms"),
    ],
    ids=["plain", "rf", "heartbeats", "refocusing"],
)
def test_json_gives_back_the_same(train: Fingerprinting | RefocusingTrain) -> None:
    assert type(train).model_validate_json(train.model_dump_json()) == train


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: Fingerprinting(**{**GOOD, "flip_angle": (10.0, 25.0, 60.0)}), PlausibilityError),
        (lambda: Fingerprinting(**{**GOOD, "flip_angle": (-0.1, 0.2, 0.3)}), PlausibilityError),
        (lambda: Fingerprinting(**{**GOOD, "flip_angle": (0.0, 0.0)}), PlausibilityError),
        (lambda: Fingerprinting(**{**GOOD, "flip_angle": (0.3,)}), AcquisitionError),
        (lambda: Fingerprinting(**{**GOOD, "repetition_time": 12.0}), PlausibilityError),
        (lambda: Fingerprinting(**{**GOOD, "repetition_time": "12"}), UnitError),
        (lambda: Fingerprinting(**{**GOOD, "repetition_time": (0.012, 0.013)}), AcquisitionError),
        (lambda: Fingerprinting(**{**GOOD, "echo_time": 1.9}), PlausibilityError),
        (lambda: Fingerprinting(**{**GOOD, "echo_time": 0.02}), PlausibilityError),
        (lambda: Fingerprinting(**GOOD, rf_phase=(0.0, 117.0, 351.0)), PlausibilityError),
        (lambda: Fingerprinting(**GOOD, phase_increment=117.0), PlausibilityError),
        (lambda: Fingerprinting(**GOOD, inversion_time=21.0), PlausibilityError),
        (lambda: Fingerprinting(**GOOD, segment_length=(2, 1)), AcquisitionError),
        (lambda: Fingerprinting(**{**BEATS, "segment_length": (2, 2)}), AcquisitionError),
        (lambda: Fingerprinting(**{**BEATS, "rr_interval": (900.0, 900.0)}), PlausibilityError),
        (lambda: Fingerprinting(**{**BEATS, "preparation_time": (0.89, 0.05)}), AcquisitionError),
        (lambda: Fingerprinting(**{**BEATS, "preparation_time": (0.02, 0.6)}), PlausibilityError),
        (lambda: Fingerprinting(**{**BEATS, "preparation": ("inversion", "none")}), AcquisitionError),
        (lambda: Fingerprinting(**BEATS, inversion_time=0.02), AcquisitionError),
        (lambda: Fingerprinting(**GOOD).subset(lambda i: i != 1), AcquisitionError),
        (lambda: RefocusingTrain(refocusing_angle=(180.0, 120.0), echo_spacing=0.01), PlausibilityError),
        (lambda: RefocusingTrain(refocusing_angle=(math.pi,) * 3, echo_spacing=10.0), PlausibilityError),
        (lambda: RefocusingTrain(refocusing_angle=(math.pi,), echo_spacing=0.01), AcquisitionError),
        (lambda: RefocusingTrain(refocusing_angle=(0.0, 0.0), echo_spacing=0.01), PlausibilityError),
    ],
)
def test_refuses(make: Callable[[], object], error: type[Exception]) -> None:
    with pytest.raises(error):
        make()


def test_keeping_everything_is_no_subset() -> None:
    train = Fingerprinting(**GOOD)
    assert train.subset(lambda _: True) is train


def test_quadratic_phases() -> None:
    train = Fingerprinting(**GOOD, spoiling="rf", phase_increment="50deg", rf_phase=(0.1, 0.2, 0.3))
    wanted = [0.1, 0.2 + math.radians(50), 0.3 + math.radians(150)]
    torch.testing.assert_close(train.phases(), torch.tensor(wanted, dtype=torch.float64))
