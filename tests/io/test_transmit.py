from __future__ import annotations

import pytest
import torch

from fastqmri.core import PlausibilityError
from fastqmri.io import b1_fraction

FRACTION = torch.tensor([0.0, 0.7, 0.9, 1.0, 1.1, 1.3, torch.nan])


def test_a_fraction_stays():
    values, note = b1_fraction(FRACTION, None, "B1.nii.gz")
    assert values is FRACTION
    assert note is None


def test_percent_is_divided_and_said():
    values, note = b1_fraction(100 * FRACTION, None, "B1.nii.gz")
    torch.testing.assert_close(values, FRACTION, equal_nan=True)
    assert "B1.nii.gz has a median of 100: read as percent" in note


def test_the_mask_decides():
    """Air around the head may hold anything."""
    values = torch.cat([torch.full((100,), 3000.0), 100 * FRACTION])
    mask = torch.cat([torch.zeros(100, dtype=torch.bool), torch.ones(7, dtype=torch.bool)])
    assert b1_fraction(values, mask, "B1")[0][-2] == pytest.approx(1.3)
    with pytest.raises(PlausibilityError, match="median of 3000"):
        b1_fraction(values, None, "B1")


@pytest.mark.parametrize("factor", [0.01, 10.0, 1000.0, 4096.0])
def test_other_scales_are_refused(factor: float):
    with pytest.raises(PlausibilityError, match=r"near 1 .* or near 100") as error:
        b1_fraction(factor * FRACTION, None, "B1.nii.gz")
    assert "Convert it" in error.value.remedy


def test_an_empty_map_is_refused():
    with pytest.raises(PlausibilityError, match="no positive value inside the mask"):
        b1_fraction(FRACTION, FRACTION == 0, "B1")


def test_real_maps_of_either_unit(test_data):
    from fastqmri.io import read_image

    fraction = read_image(test_data("brain_vfa_b1_qmrlab") / "vfa_t1_B1map.nii.gz").data
    percent = read_image(test_data("mpm_semisynthetic_truth_lower") / "B1map.nii.gz").data
    assert b1_fraction(fraction, None, "a")[1] is None
    values, note = b1_fraction(percent, None, "b")
    assert "percent" in note
    assert 0.7 < values.median() < 1.3
