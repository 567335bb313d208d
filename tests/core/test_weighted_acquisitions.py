"""Acquisitions of magnetisation transfer and of both fields: what they hold, and what they refuse."""

from __future__ import annotations

import math

import pytest

from fastqmri.core import (
    AcquisitionError,
    ActualFlipAngle,
    DoubleAngle,
    MagnetizationTransferRatio,
    MagnetizationTransferSaturation,
    MultiParameterMapping,
    PlausibilityError,
)

ANGLES = (math.radians(6), math.radians(6), math.radians(20))


def saturation(**changes: object) -> MagnetizationTransferSaturation:
    fields = {
        "mt_state": (True, False, False),
        "flip_angle": ANGLES,
        "repetition_time": (0.028, 0.028, 0.018),
    }
    return MagnetizationTransferSaturation(**{**fields, **changes})


def mapping(**changes: object) -> MultiParameterMapping:
    fields = {
        "echo_time": (0.002, 0.004) * 3,
        "flip_angle": tuple(a for a in ANGLES for _ in range(2)),
        "repetition_time": (0.028,) * 6,
        "mt_state": (True, True, False, False, False, False),
    }
    return MultiParameterMapping(**{**fields, **changes})


def test_states_are_words_too() -> None:
    assert MagnetizationTransferRatio(mt_state=("off", "on")).mt_state == (False, True)
    assert saturation(flip_angle=("6deg", "6deg", "20deg")).flip_angle == pytest.approx(ANGLES)


def test_weightings_are_told_apart() -> None:
    made = mapping()
    assert [on for on, _, _ in made.weightings] == [False, False, True]
    assert made.weighting_of == (2, 2, 0, 0, 1, 1)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: MagnetizationTransferRatio(mt_state=(True, True)), "distinct mt state"),
        (lambda: MagnetizationTransferRatio(mt_state=("off", "maybe")), "maybe"),
        (lambda: saturation(flip_angle=ANGLES[:2]), "one of each"),
        (lambda: saturation(mt_state=(True, True, False)), "T1 needs two"),
        (lambda: saturation(mt_state=(False, False, False)), "distinct mt state"),
        # twice the angle and four times the repetition time weight alike
        (
            lambda: saturation(flip_angle=(0.1, 0.1, 0.2), repetition_time=(0.02, 0.02, 0.08)),
            "T1 needs two",
        ),
        (lambda: mapping(mt_state=(True,) * 4 + (False,) * 2), "T1 needs two"),
        (lambda: mapping(echo_time=(0.002,) * 6), "distinct echo time"),
        (lambda: mapping(echo_time=(0.002, 0.04) * 3), "before the echo"),
        (lambda: ActualFlipAngle(repetition_time=(0.02, 0.1, 0.2), flip_angle=1.0), "two images"),
        (lambda: ActualFlipAngle(repetition_time=(0.02, 0.02), flip_angle=1.0), "distinct"),
        (lambda: DoubleAngle(flip_angle=(1.0, 1.5)), "twice the first"),
        (lambda: DoubleAngle(flip_angle=(0.5, 1.0, 2.0)), "twice the first"),
    ],
)
def test_what_contradicts_itself_is_refused(make, says: str) -> None:
    with pytest.raises(AcquisitionError, match=says):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: saturation(flip_angle=(6.0, 6.0, 6.2)),
        lambda: saturation(flip_angle=(1.1, 1.1, 3.0)),
        lambda: saturation(repetition_time=(28.0, 28.0, 18.0)),
        lambda: mapping(echo_time=(2.0, 4.0) * 3),
        lambda: ActualFlipAngle(repetition_time=(20.0, 29.0), flip_angle=1.0),
        lambda: ActualFlipAngle(repetition_time=(0.02, 0.1), flip_angle=60.0),
        lambda: ActualFlipAngle(repetition_time=(0.02, 0.1), flip_angle=3.1),
        lambda: DoubleAngle(flip_angle=(60.0, 120.0)),
    ],
)
def test_degrees_and_milliseconds_are_noticed(make) -> None:
    with pytest.raises(PlausibilityError):
        make()
