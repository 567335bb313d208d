from __future__ import annotations

import math

import pytest
import torch

from fastqmri.core import PlausibilityError
from fastqmri.io import phase_in_radians, read_image

TURN = torch.linspace(-math.pi, math.pi, 1001)


@pytest.mark.parametrize(
    ("scale", "offset"),
    [
        (4096 / math.pi, 0.0),
        (2048 / math.pi, 2048.0),
        (1000.0, 0.0),
        (0.003674 / math.pi, 0.0),
        (180 / math.pi, 0.0),
    ],
    ids=["-4096..4096", "0..4096", "mrad", "unscaled Philips", "degrees"],
)
def test_scales_of_a_full_turn(scale: float, offset: float):
    phase, note = phase_in_radians(TURN * scale + offset, "phase.nii.gz")
    # the same angle up to a step of the scanner's counter
    assert float((torch.exp(1j * phase) - torch.exp(1j * TURN)).abs().max()) < 2 * math.pi / 4096
    assert "rescaled" in note


@pytest.mark.parametrize("step", [1, 2])
def test_twelve_bit_steps_end_below_half_a_turn(step: int):
    """[-4096, 4095] and, from converters that count in twos, [-4096, 4094]."""
    steps = torch.arange(-4096, 4096, step)
    phase, _ = phase_in_radians(steps.float(), "phase.nii.gz")
    torch.testing.assert_close(phase, steps * math.pi / 4096)
    phase, _ = phase_in_radians((steps.float() + 4096)[: 4096 // step], "phase.nii.gz")
    torch.testing.assert_close(phase, (steps + 4096)[: 4096 // step] * math.pi / 2048 - math.pi)


@pytest.mark.parametrize("offset", [0.0, math.pi])
def test_radians_stay(offset: float):
    phase, note = phase_in_radians(TURN + offset, "a")
    assert torch.equal(phase, TURN + offset)
    assert note is None


def test_a_small_range_needs_the_unit():
    phase = torch.tensor([0.1, 0.5, 1.2])
    assert torch.equal(phase_in_radians(phase, "a", units="rad")[0], phase)
    with pytest.raises(PlausibilityError, match=r"0\.1 to 1\.2") as error:
        phase_in_radians(phase, "a")
    assert '"Units": "rad"' in error.value.remedy


def test_units_that_the_data_contradict():
    with pytest.raises(PlausibilityError, match="Units 'rad'"):
        phase_in_radians(TURN * 4096 / math.pi, "a", units="rad")


def test_values_that_are_not_finite_don_t_decide():
    phase = torch.cat([TURN, torch.tensor([torch.nan, torch.inf])])
    assert phase_in_radians(phase, "a")[1] is None


def test_nothing_but_zero_is_refused():
    with pytest.raises(PlausibilityError):
        phase_in_radians(torch.zeros(10), "a")


def test_a_real_image_in_raw_scaling(test_data):
    raw = read_image(test_data("brain_phase_crop_romeo") / "phase.nii.gz").data
    phase, note = phase_in_radians(raw, "phase.nii.gz")
    assert note is not None
    assert float(phase.min()) == pytest.approx(-math.pi, rel=1e-2)
    assert float(phase.max()) == pytest.approx(math.pi, rel=1e-2)


def test_a_real_image_in_steps(test_data):
    folder = test_data("abdomen_b0_dualecho_ukat_siemens_01")
    raw = read_image(next(folder.glob("*_e1_ph.nii.gz"))).data
    phase, _ = phase_in_radians(raw, "phase.nii.gz")
    assert float(phase.abs().max()) <= math.pi * 1.001
    assert float(phase.max() - phase.min()) > 0.99 * 2 * math.pi
