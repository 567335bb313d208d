"""Fingerprinting schedules by name: what was published about them holds."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fastqmri.core import Fingerprinting
from fastqmri.physics.spins import SCHEDULES, schedule


def degrees(train: Fingerprinting) -> np.ndarray:
    return np.rad2deg(train.flip_angle)


def train(name: str) -> Fingerprinting:
    found = schedule(name)
    assert isinstance(found, Fingerprinting)
    return found


def test_lobes_of_the_train_of_1000() -> None:
    found = train("irfisp-1000")
    angle = degrees(found)
    gaps = [(199, 208), (409, 418), (619, 627), (828, 838)]
    zeros = np.concatenate([np.arange(first, last + 1) for first, last in gaps])
    np.testing.assert_array_equal(np.flatnonzero(angle == 0), zeros)
    edges = [0, *(last for _, last in gaps), 1000]
    peaks = [angle[first:last].max() for first, last in itertools.pairwise(edges)]
    np.testing.assert_allclose(peaks, [35, 43, 70, 45, 27], atol=1e-12)
    assert angle[angle > 0].min() >= 5 - 1e-12
    assert found.inversion_time == 0.018
    assert set(found.echo_time) == {0.001908}


def test_repetition_times_of_the_train_of_1000() -> None:
    times = np.array(train("irfisp-1000").repetition_time)
    assert times.min() == pytest.approx(11.67e-3)
    assert times.max() == pytest.approx(14.33e-3)
    assert times.mean() == pytest.approx(13.13e-3, abs=1e-8)
    assert times.std() == pytest.approx(0.64e-3, rel=0.2)
    assert np.abs(np.diff(times)).max() < 0.1e-3  # slowly


def test_against_the_published_table(test_data: Callable[[str], Path]) -> None:
    # the table has hundredths of a degree, and one of them on top everywhere, so that nothing is zero
    table = np.load(test_data("mrf_nist_phantom_maps_and_schedule") / "schedule.npz")
    difference = np.abs(degrees(train("irfisp-1000")) - (table["FA_deg"] - 0.01))
    print(f"flip angles differ by {difference.max():.4f}° at most")
    assert difference.max() <= 0.005 + 1e-9
    assert abs(sum(train("irfisp-1000").repetition_time) - table["TR_s"].sum()) < 0.01


def test_train_of_500() -> None:
    angle = degrees(train("irfisp-500"))
    assert len(angle) == 500
    assert angle[:200].max() == pytest.approx(30, abs=0.01)
    assert angle[200:400].max() == pytest.approx(90, abs=0.02)
    assert set(np.round(angle[400:], 9)) == {10.0}
    assert set(train("irfisp-500").repetition_time) == {0.012}


@pytest.mark.parametrize(("name", "seconds"), [("drone-25", 1.318), ("drone-epi-25", 2.015)])
def test_few_excitations(name: str, seconds: float) -> None:
    found = train(name)
    assert found.contrasts == 25
    assert sum(found.repetition_time) == pytest.approx(seconds)


def test_fifteen_heartbeats() -> None:
    found = train("cardiac-15")
    angle = degrees(found).reshape(15, 50)
    assert found.contrasts == 750
    np.testing.assert_allclose(angle[:, 0], 4)
    np.testing.assert_allclose(angle[:, 15:], np.tile([12.5, 18.75, 25, 25, 25], 3)[:, None] * np.ones(35))
    assert found.preparation == ("inversion", "none", "t2prep", "t2prep", "t2prep") * 3
    assert found.preparation_time == (0.021, 0.0, 0.03, 0.05, 0.08) * 3
    assert len(found.rr_interval) == 15


@pytest.mark.parametrize("name", [n for n in SCHEDULES if isinstance(schedule(n), Fingerprinting)])
def test_the_same_every_time(name: str) -> None:
    assert schedule(name) == schedule(name)
    assert Fingerprinting.model_validate_json(schedule(name).model_dump_json()) == schedule(name)
