"""Cards: what is inside, what is near, what is refused."""

import pytest
import torch

from fastqmri.core import Measurement, MultiEchoSpinEcho, ValidityError, VariableFlipAngle
from fastqmri.learning.validity import (
    Judgement,
    Validity,
    described,
    in_range,
    judge,
    judge_protocol,
    protocol_text,
    refuse_outside,
)

TIMES = (0.01, 0.02, 0.04)
ECHOES = MultiEchoSpinEcho(echo_time=TIMES)
CARD = Validity(acquisition=described(ECHOES), matrix=(32, 64), snr=(20, 100), known={"B1": (0.8, 1.2)})


def measured(
    acquisition: MultiEchoSpinEcho = ECHOES, voxels: tuple[int, ...] = (48, 48), b1: float = 1.0
) -> Measurement:
    data = torch.ones(acquisition.contrasts, *voxels)
    return Measurement(data, acquisition, known={"B1": torch.full(voxels, b1)})


@pytest.mark.parametrize(
    ("factor", "warnings", "refusals"),
    [(1.0, 0, 0), (1.009, 0, 0), (1.02, 1, 0), (1.049, 1, 0), (1.06, 0, 1), (1000.0, 0, 1)],
)
def test_protocol_by_its_distance(factor: float, warnings: int, refusals: int) -> None:
    """1 % counts as the same, 5 % as near: by the definition of the card."""
    times = (TIMES[0], TIMES[1], TIMES[2] * factor) if factor < 2 else tuple(t * 20 for t in TIMES)
    found = judge_protocol(CARD, MultiEchoSpinEcho(echo_time=times))
    assert (len(found.warnings), len(found.refusals)) == (warnings, refusals)
    for text in (*found.warnings, *found.refusals):
        assert f"{times[2]:.4g} (trained: 0.04)" in text or "and 2 more" in text


def test_small_numbers_are_compared_with_the_largest() -> None:
    card = Validity(acquisition={"class": "MultiEchoSpinEcho", "echo_time": [0.001, 0.1]})
    off = MultiEchoSpinEcho(echo_time=(0.00109, 0.1))  # 9 % of itself, but 0.9 % of a tenth of the largest
    assert judge_protocol(card, off) == Judgement()
    assert judge_protocol(card, MultiEchoSpinEcho(echo_time=(0.0016, 0.1))).refusals


def test_other_acquisitions_and_fields_that_do_not_matter() -> None:
    vfa = VariableFlipAngle(flip_angle=(0.1, 0.2), repetition_time=0.01)
    assert "VariableFlipAngle, trained was MultiEchoSpinEcho" in judge_protocol(CARD, vfa).refusals[0]
    indifferent = Validity(acquisition=described(vfa, without=("repetition_time",)))
    other = VariableFlipAngle(flip_angle=(0.1, 0.2), repetition_time=0.02)
    assert judge_protocol(indifferent, other) == Judgement()
    assert judge_protocol(Validity(acquisition=described(vfa)), other).refusals
    assert judge_protocol(Validity(), other) == Judgement()


def test_number_of_contrasts() -> None:
    text = judge_protocol(CARD, MultiEchoSpinEcho(echo_time=TIMES[:2])).refusals[0]
    assert text == "number of values of echo_time 2 (trained: 3)"


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("coils", 4, ""),
        ("coils", 9, "warnings"),
        ("coils", 11, "refusals"),
        ("coils", 1, "refusals"),
        ("snr", 1e6, "warnings"),  # easier than trained is never refused
        ("acceleration", 1, "warnings"),
        ("acceleration", 20, "refusals"),
        ("coils", None, ""),
        ("coils", float("nan"), ""),
    ],
)
def test_ranges(name: str, value: float | None, kind: str) -> None:
    found = in_range(name, value, (2, 8))
    assert bool(found.warnings) == (kind == "warnings")
    assert bool(found.refusals) == (kind == "refusals")


def test_measurement_is_judged_whole() -> None:
    assert judge(CARD, measured(), snr=50) == Judgement()
    assert "matrix 70" in judge(CARD, measured(voxels=(48, 70))).warnings[0]
    assert "matrix 200" in judge(CARD, measured(voxels=(48, 200))).refusals[0]
    assert judge(CARD, measured(voxels=(48, 48, 3))) == Judgement()  # slices are not a side
    assert "median B1 1.25" in judge(CARD, measured(b1=1.25)).warnings[0]
    assert "median B1 1.8" in judge(CARD, measured(b1=1.8)).refusals[0]


def test_refusal_names_the_classical_command() -> None:
    with pytest.raises(ValidityError, match="Use fastqmri fit mese"):
        refuse_outside("net", Judgement(refusals=("far",)), "fastqmri fit mese")
    assert refuse_outside("net", Judgement(warnings=("edge",)), "x") == (
        "net, near the edge of its card: edge.",
    )


def test_protocol_in_words() -> None:
    assert protocol_text(CARD) == "MultiEchoSpinEcho: echo time 0.01, 0.02, 0.04"
    many = MultiEchoSpinEcho(echo_time=tuple(0.01 * i for i in range(1, 12)))
    assert protocol_text(Validity(acquisition=described(many))) == "MultiEchoSpinEcho: echo time 11 values"
    assert protocol_text(Validity()) == "any protocol"
