"""Schedules: by name, from JSON and back, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fastqmri.core import AcquisitionError, FastqmriError, FileError, Schedule
from fastqmri.io import read_schedule, write_schedule
from fastqmri.physics.spins import SCHEDULES, schedule

each_schedule = pytest.mark.parametrize("name", SCHEDULES)


@each_schedule
def test_published_schedules_come_by_name(name: str) -> None:
    found = read_schedule(name, Schedule)
    assert found == schedule(name)
    assert found.contrasts == len(getattr(found, found.varies))
    assert f"{found.contrasts} contrasts" in found.summary()


@each_schedule
def test_a_schedule_survives_its_file(name: str, tmp_path: Path) -> None:
    found = schedule(name)
    path = tmp_path / "schedule.json"
    write_schedule(path, found)
    assert read_schedule(path, type(found)) == found


def test_a_schedule_of_another_kind_is_refused_with_those_that_fit() -> None:
    class Other(Schedule):
        varies = "numbers"
        numbers: tuple[float, ...]

    with pytest.raises(AcquisitionError, match="Other"):
        read_schedule(next(iter(SCHEDULES)), Other)


def test_neither_name_nor_file() -> None:
    with pytest.raises(FileError, match="neither"):
        read_schedule("irfisp-100", Schedule)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "[1, 2]",
        lambda text: json.dumps({**json.loads(text), "colour": "red"}),
        lambda text: json.dumps(dict(list(json.loads(text).items())[1:])),
    ],
    ids=["cut short", "a list", "an unknown field", "a field missing"],
)
def test_files_that_are_no_schedule(spoil: Callable[[str], str], tmp_path: Path) -> None:
    found = schedule(next(iter(SCHEDULES)))
    path = tmp_path / "schedule.json"
    write_schedule(path, found)
    path.write_text(spoil(path.read_text()))
    with pytest.raises(FastqmriError):
        read_schedule(path, type(found))


def test_summary_gives_every_number_its_unit():
    fingerprint = schedule("drone-25").summary()
    assert "flip angle 18 deg to 87 deg" in fingerprint
    assert "repetition time 25 ms to 77 ms" in fingerprint
    saturation = schedule("mtc-mrf-40").summary()
    assert "offset 8 ppm to 50 ppm, saturation b1 0.9 uT to 1.9 uT" in saturation
    assert "spin lock" not in saturation  # a default
    assert "spin lock" in schedule("cest-mrf-arginine-3t").summary()
