"""Errors that travel between processes, parameter maps and measurements that check their shapes."""

from __future__ import annotations

import inspect
import pickle

import pytest
import torch

from fastqmri.core import (
    NOT_ESTIMATED,
    DataError,
    Estimator,
    FastqmriError,
    Flag,
    Measurement,
    MultiEchoSpinEcho,
    Parameter,
    ParameterMaps,
    ShapeError,
    UnknownNameError,
    errors,
)

ERRORS = [
    value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, FastqmriError)
]
ECHOES = MultiEchoSpinEcho(echo_time=(0.01, 0.02, 0.04))
T2 = Parameter("T2", "s", (0.001, 5.0), (0.005, 2.5), "transverse relaxation time")
M0 = Parameter("M0", "arbitrary", (0.0, 1e12), (0.5, 1.5), "signal")


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_errors_say_what_why_and_what_to_do(kind: type[FastqmriError]) -> None:
    error = kind("EchoTime = 15 s", "no scan has one.", "Give it in seconds.")
    message = str(error)
    assert message.startswith(f"[{kind.code}] EchoTime = 15 s")
    assert "no scan has one." in message
    assert "Give it in seconds." in message
    assert (error.read, error.why, error.remedy) == (
        "EchoTime = 15 s",
        "no scan has one.",
        "Give it in seconds.",
    )


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_errors_survive_pickling(kind: type[FastqmriError]) -> None:
    for error in (kind("read", "why", "remedy"), kind("read", "why", "remedy", code="FQ999")):
        twin = pickle.loads(pickle.dumps(error))
        assert type(twin) is kind
        assert (twin.read, twin.why, twin.remedy, twin.code) == ("read", "why", "remedy", error.code)
        assert str(twin) == str(error)


def test_every_kind_of_error_has_its_own_code() -> None:
    codes = [kind.code for kind in ERRORS]
    assert len(set(codes)) == len(codes)


def maps(**changes: object) -> ParameterMaps:
    fields: dict[str, object] = {
        "parameters": (T2, M0),
        "value": torch.ones(2, 3, 1, 5),
        "standard_deviation": torch.ones(2, 3, 1, 5),
        "flags": torch.zeros(3, 1, 5, dtype=torch.uint8),
    }
    return ParameterMaps(**{**fields, **changes})  # type: ignore[arg-type]


def test_maps_are_found_by_name() -> None:
    held = maps(value=torch.stack([torch.zeros(3, 1, 5), torch.ones(3, 1, 5)]))
    assert held.names == ("T2", "M0")
    assert "T2" in held
    assert "T1" not in held
    assert held["M0"].parameter is M0
    assert float(held["M0"].value.mean()) == 1
    assert [entry.parameter.name for entry in held] == ["T2", "M0"]
    with pytest.raises(UnknownNameError, match="T2, M0"):
        held["T1"]


@pytest.mark.parametrize(
    "changes",
    [
        {"value": torch.ones(3, 3, 1, 5)},
        {"value": torch.ones(2, 5, 1, 3)},
        {"standard_deviation": torch.ones(2, 3, 5)},
        {"parameters": (T2,)},
        {"flags": torch.zeros(3, 5, dtype=torch.uint8)},
        {"flags": torch.zeros(3, 1, 5, dtype=torch.int64)},
        {"flags": torch.zeros(3, 1, 5, dtype=torch.bool)},
    ],
    ids=[
        "too many rows",
        "axes swapped",
        "an axis lost",
        "a name lost",
        "flags' axes",
        "wide flags",
        "one flag",
    ],
)
def test_maps_of_contradicting_shapes_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ShapeError):
        maps(**changes)


def test_flags_are_counted_one_by_one() -> None:
    flags = torch.zeros(2, 1, 4, dtype=torch.uint8)
    flags[0, 0] = torch.tensor([0, 1, 1 | 2, 128], dtype=torch.uint8)
    flags[1, 0, 0] = 32 | 64
    value = torch.ones(1, 2, 1, 4)
    value[0, 0, 0, 3] = value[0, 1, 0, 0] = torch.nan
    held = maps(parameters=(T2,), value=value, standard_deviation=value.clone(), flags=flags)
    counts = held.flag_counts()
    assert set(counts) == set(Flag) | {Flag.OK}
    assert counts[Flag.OK] == 4
    assert counts[Flag.AT_BOUND] == 2
    assert counts[Flag.LOW_SNR] == counts[Flag.MASKED] == counts[Flag.SATURATED] == 1
    assert counts[Flag.MODEL_MISFIT] == 0
    assert held.estimated.sum() == 6
    assert held.trusted.sum() == 4


def test_every_flag_is_one_bit_of_a_byte_with_a_sentence() -> None:
    bits = [int(flag) for flag in Flag if flag]
    assert sorted(bits) == [1 << i for i in range(8)]
    for flag in (Flag.OK, *Flag):
        assert flag.description.endswith(".")
    assert Flag.MASKED in NOT_ESTIMATED
    assert Flag.INVALID_INPUT in NOT_ESTIMATED


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (ShapeError, {"data": torch.ones(2, 4, 5)}),
        (ShapeError, {"data": torch.ones(4, 5, 3)}),
        (ShapeError, {"data": torch.tensor(1.0)}),
        (ShapeError, {"mask": torch.ones(4, 4, dtype=torch.bool)}),
        (ShapeError, {"known": {"B1": torch.ones(5, 4)}}),
        (DataError, {"mask": torch.zeros(4, 5, dtype=torch.bool)}),
        (DataError, {"data": torch.full((3, 4, 5), torch.nan)}),
        (DataError, {"data": torch.full((3, 4, 5), torch.inf)}),
    ],
    ids=["contrasts", "axes", "a number", "mask", "map", "empty mask", "all NaN", "all infinite"],
)
def test_measurements_that_do_not_fit_together_are_refused(
    kind: type[FastqmriError], fields: dict[str, object]
) -> None:
    with pytest.raises(kind) as caught:
        Measurement(**{"data": torch.ones(3, 4, 5), "acquisition": ECHOES, **fields})  # type: ignore[arg-type]
    assert caught.value.remedy


def test_voxels_are_all_axes_but_the_first() -> None:
    assert Measurement(torch.ones(3, 4, 1, 5), ECHOES).voxels == (4, 1, 5)
    assert Measurement(torch.ones(3), ECHOES).voxels == ()


def test_anything_that_estimates_is_an_estimator() -> None:
    class Constant:
        def estimate(self, measurement: Measurement) -> ParameterMaps:
            return maps()

    assert isinstance(Constant(), Estimator)
    assert not isinstance(object(), Estimator)
