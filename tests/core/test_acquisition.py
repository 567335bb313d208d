"""Acquisitions refuse what no scanner could have been told, above all numbers in the wrong unit."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch

from fastqmri.core import (
    Acquisition,
    AcquisitionError,
    DiffusionWeighted,
    InversionRecovery,
    LookLocker,
    MultiEchoGradientEcho,
    MultiEchoSpinEcho,
    PlausibilityError,
    UnitError,
    VariableFlipAngle,
    WeightedGradientEcho,
)

X, Y, Z = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
Make = Callable[[], Acquisition]


def test_strings_carry_their_unit() -> None:
    vfa = VariableFlipAngle(flip_angle=("3deg", "0.35rad"), repetition_time="15ms")
    assert vfa.flip_angle == pytest.approx((math.radians(3), 0.35))
    assert vfa.repetition_time == pytest.approx(0.015)
    assert MultiEchoSpinEcho(echo_time=("10ms", 0.02)).echo_time == pytest.approx((0.01, 0.02))
    assert DiffusionWeighted(b_value=(0, "1ms/um2")).b_value == (0.0, 1000.0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: VariableFlipAngle(flip_angle=(3, 10, 20), repetition_time=0.005),
        lambda: VariableFlipAngle(flip_angle=(2, 3), repetition_time=0.005),
        lambda: VariableFlipAngle(flip_angle=(1.0, 2.0, 3.0), repetition_time=0.005),
        lambda: VariableFlipAngle(flip_angle=(0.05, 0.3), repetition_time=15),
        lambda: VariableFlipAngle(flip_angle=(0.05, 0.3), repetition_time=5.2),
        lambda: VariableFlipAngle(flip_angle=(0.05, 0.3), repetition_time=5000),
        lambda: InversionRecovery(inversion_time=(0.1, 1.0), repetition_time=5000),
        lambda: InversionRecovery(inversion_time=(50, 400, 1100)),
        lambda: LookLocker(inversion_time=(50, 400, 1100)),
        lambda: MultiEchoSpinEcho(echo_time=(10, 20)),
        lambda: MultiEchoGradientEcho(echo_time=(2.3, 4.6)),
        lambda: DiffusionWeighted(b_value=(0, 0.5, 1.0)),
        lambda: DiffusionWeighted(b_value=(0, 1e9)),
    ],
    ids=[
        "degrees as radians",
        "small degrees as radians",
        "one degree as one radian",
        "TR in ms",
        "short TR in ms",
        "TR in µs",
        "TR of inversions in ms",
        "TI in ms",
        "Look-Locker TI in ms",
        "TE in ms",
        "short TE in ms",
        "b in ms/µm²",
        "b in s/m²",
    ],
)
def test_numbers_in_the_wrong_unit_are_refused(make: Make) -> None:
    with pytest.raises(PlausibilityError, match="reads like"):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: VariableFlipAngle(flip_angle=(0.05, -0.3), repetition_time=0.005),
        lambda: VariableFlipAngle(flip_angle=(0.0, 0.3), repetition_time=0.005),
        lambda: VariableFlipAngle(flip_angle=(0.05, 0.3), repetition_time=0.0),
        lambda: MultiEchoSpinEcho(echo_time=(0.0, 0.01)),
        lambda: InversionRecovery(inversion_time=(-0.1, 1.0)),
        lambda: DiffusionWeighted(b_value=(-5.0, 1000.0)),
        lambda: InversionRecovery(inversion_time=(0.1, 3.0), repetition_time=2.0),
        lambda: DiffusionWeighted(b_value=(0, 1000), b_vector=((0, 0, 0), (0.5, 0, 0))),
        lambda: DiffusionWeighted(b_value=(0, 1000), b_vector=((0, 0, 0), (1, 1, 0))),
    ],
    ids=["angle", "zero angle", "TR", "TE", "TI", "b", "TI beyond TR", "short vector", "long vector"],
)
def test_impossible_numbers_are_refused(make: Make) -> None:
    with pytest.raises(PlausibilityError):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: VariableFlipAngle(flip_angle=(0.05,), repetition_time=0.005),
        lambda: VariableFlipAngle(flip_angle=(0.05, 0.05, 0.05), repetition_time=0.005),
        lambda: VariableFlipAngle(flip_angle=(0.05, 0.3)),
        lambda: VariableFlipAngle(flip_angle=0.05, repetition_time=0.005),
        lambda: VariableFlipAngle(flip_angle=(0.05, None), repetition_time=0.005),
        lambda: VariableFlipAngle(flip_angle=(0.05, math.nan), repetition_time=0.005),
        lambda: VariableFlipAngle(flip_angle=(0.05, 0.3), repetition_time=math.inf),
        lambda: VariableFlipAngle(flip_angle=(0.05, 0.3), repetition_time=0.005, echo_time=0.002),
        lambda: LookLocker(inversion_time=(0.1, 0.2)),
        lambda: MultiEchoSpinEcho(echo_time=()),
        lambda: DiffusionWeighted(b_value=(1000.0, 1000.0)),
        lambda: DiffusionWeighted(b_value=(0, 1000), b_vector=(X,)),
        lambda: DiffusionWeighted(b_value=(0, 1000), b_vector=((0, 0, 0), (1, 0))),
        lambda: DiffusionWeighted(b_value=(0, 1000), b_vector=((0, 0, 0), (math.nan, 0, 1))),
    ],
    ids=[
        "one angle",
        "one distinct angle",
        "no TR",
        "no list",
        "None",
        "NaN",
        "infinite TR",
        "unknown field",
        "two readouts",
        "no echo",
        "one b-value",
        "vectors missing",
        "two-dimensional vector",
        "NaN in a vector",
    ],
)
def test_incomplete_acquisitions_are_refused(make: Make) -> None:
    with pytest.raises(AcquisitionError) as caught:
        make()
    assert caught.value.remedy


def test_units_of_another_dimension_are_refused() -> None:
    with pytest.raises(UnitError, match="not a unit of angle"):
        VariableFlipAngle(flip_angle=("3ms", "20ms"), repetition_time="15ms")
    with pytest.raises(UnitError, match="15 ms or 15 s"):
        VariableFlipAngle(flip_angle=("3deg", "20deg"), repetition_time="15")


def test_limits_themselves_are_allowed() -> None:
    assert VariableFlipAngle(flip_angle=(0.999, 2 * math.pi), repetition_time=2.0).contrasts == 2
    assert MultiEchoSpinEcho(echo_time=(1e-6, 1.0)).contrasts == 2
    assert InversionRecovery(inversion_time=(0.1, 3.0), repetition_time=3.0).contrasts == 2
    assert DiffusionWeighted(b_value=(0.0, 20.0)).contrasts == 2


def test_unweighted_volumes_need_no_direction() -> None:
    acquisition = DiffusionWeighted(b_value=(0, 5, 1000), b_vector=((0, 0, 0), (0, 0, 0), (0, 0.6, 0.8)))
    assert acquisition.contrasts == 3


@pytest.mark.parametrize(
    "acquisition",
    [
        VariableFlipAngle(flip_angle=(0.05, 0.1, 0.3), repetition_time=0.005),
        InversionRecovery(inversion_time=(0.1, 1.0, 2.0), repetition_time=3.0),
        MultiEchoSpinEcho(echo_time=(0.01, 0.02, 0.03)),
        DiffusionWeighted(b_value=(0, 700, 1000), b_vector=(X, Y, Z)),
    ],
    ids=lambda a: type(a).__name__,
)
def test_frozen_equal_and_picklable(acquisition: Acquisition) -> None:
    fields: dict[str, Any] = acquisition.model_dump()
    twin = type(acquisition)(**fields)
    assert twin == acquisition
    assert twin is not acquisition
    assert pickle.loads(pickle.dumps(acquisition)) == acquisition
    assert type(acquisition).model_validate_json(acquisition.model_dump_json()) == acquisition
    with pytest.raises(ValueError, match="frozen"):
        setattr(acquisition, acquisition.varies, (0.1, 0.2))


def test_weightings_belong_to_their_images() -> None:
    acquisition = WeightedGradientEcho(echo_time=(0.002, 0.004, 0.003), weighting=("PDw", "PDw", "T1w"))
    some = acquisition.subset(lambda i: i != 1)
    assert some == WeightedGradientEcho(echo_time=(0.002, 0.003), weighting=("PDw", "T1w"))
    with pytest.raises(AcquisitionError, match="one of each"):
        WeightedGradientEcho(echo_time=(0.002, 0.004), weighting=("PDw",))


def test_subset_keeps_what_belongs_to_each_contrast() -> None:
    acquisition = DiffusionWeighted(b_value=(0, 700, 1000, 1000), b_vector=((0, 0, 0), X, Y, Z))
    some = acquisition.subset(lambda i: i != 1)
    assert some == DiffusionWeighted(b_value=(0, 1000, 1000), b_vector=((0, 0, 0), Y, Z))
    vfa = VariableFlipAngle(flip_angle=(0.05, 0.1, 0.3), repetition_time=0.005)
    assert vfa.subset(lambda i: i > 0).repetition_time == 0.005
    with pytest.raises(AcquisitionError):
        vfa.subset(lambda i: i == 0)


@pytest.mark.parametrize(
    ("like", "dtype"),
    [(torch.float32, torch.float32), (torch.float64, torch.float64), (torch.complex64, torch.float32)],
)
def test_fields_as_tensors(like: torch.dtype, dtype: torch.dtype) -> None:
    acquisition = MultiEchoSpinEcho(echo_time=(0.01, 0.02))
    assert acquisition.tensor("echo_time").dtype == torch.float64
    found = acquisition.tensor("echo_time", like=torch.zeros(3, dtype=like))
    assert found.dtype == dtype
    assert found.tolist() == pytest.approx([0.01, 0.02])


def test_a_field_given_as_a_tensor_carries_gradients_in_both_modes() -> None:
    acquisition = VariableFlipAngle(flip_angle=(0.05, 0.3), repetition_time=0.015)
    angles = torch.tensor([0.05, 0.3], dtype=torch.float64)

    def cosines(live: torch.Tensor) -> torch.Tensor:
        return acquisition.differentiable(flip_angle=live).tensor("flip_angle").cos()

    wanted = torch.diag(-angles.sin())
    assert torch.allclose(torch.func.jacfwd(cosines)(angles), wanted)
    assert torch.allclose(torch.func.jacrev(cosines)(angles), wanted)


def test_an_acquisition_is_the_same_whether_or_not_it_carries_gradients() -> None:
    acquisition = VariableFlipAngle(flip_angle=(0.05, 0.3), repetition_time=0.015)
    moved = torch.tensor([0.06, 0.4], dtype=torch.float64, requires_grad=True)
    live = acquisition.differentiable(flip_angle=moved)
    assert live == acquisition
    assert hash(live) == hash(acquisition)
    assert live.settled() == VariableFlipAngle(flip_angle=(0.06, 0.4), repetition_time=0.015)
    assert acquisition != live.settled()


@pytest.mark.parametrize("fields", [{"echo_time": torch.zeros(2)}, {"flip_angle": torch.zeros(3)}])
def test_tensors_must_fit_the_fields(fields: dict[str, torch.Tensor]) -> None:
    acquisition = VariableFlipAngle(flip_angle=(0.05, 0.3), repetition_time=0.015)
    with pytest.raises(AcquisitionError):
        acquisition.differentiable(**fields)
