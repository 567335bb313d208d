"""Phases of a real scan, in raw steps of the scanner, without wraps."""

from __future__ import annotations

import math

import pytest
import torch

from fastqmri.estimators.screening import foreground
from fastqmri.estimators.susceptibility import combine_echoes, unwrap_echoes
from fastqmri.estimators.susceptibility.unwrapping import differences, edges_inside, wrap
from fastqmri.io import phase_in_radians, read_images

TIMES = (0.004, 0.008, 0.012)
VOXEL = (0.46875, 0.46875, 1.0)


@pytest.fixture(scope="module")
def brain(test_data):
    folder = test_data("brain_phase_crop_romeo")
    magnitude, _ = read_images([folder / "mag.nii.gz"])
    raw, _ = read_images([folder / "phase.nii.gz"])
    phase, note = phase_in_radians(raw, "phase.nii.gz")
    assert note is not None
    assert float(phase.abs().max()) == pytest.approx(math.pi, rel=1e-6)
    data = torch.polar(magnitude, phase)
    mask = foreground(data)
    return data, mask, unwrap_echoes(data, TIMES, mask, voxel_size=VOXEL)


def _jumps(phase, mask):
    """(3, x, y, z) bool: edges inside the mask across which a phase changes by more than half a turn."""
    steps = torch.stack([differences(phase, axis) for axis in range(3)])
    return (steps.abs() > math.pi) & edges_inside(mask)


def test_no_jumps_are_left(brain):
    data, mask, unwrapped = brain
    wrapped = [int(_jumps(echo.angle(), mask).sum()) for echo in data]
    assert min(wrapped) > 400  # there was something to do
    assert int(unwrapped.regions.max()) == 1
    for echo in (0, 1):
        assert int(_jumps(unwrapped.phase[echo], mask).sum()) == 0
    # beside the sinuses the field itself turns the last echo by more than half a turn from slice to slice, as the
    # first echo says; what it does not say lies at poles of the phase, around which no unwrapping exists
    jumps = _jumps(unwrapped.phase[2], mask)
    assert int(jumps.sum()) < 60
    rest = torch.stack([differences(unwrapped.phase[2] - 3 * unwrapped.phase[0], axis) for axis in range(3)])
    unexplained = (jumps & (rest.abs() > math.pi)).nonzero()
    assert len(unexplained) <= 3
    poles = _poles(data[2].angle())
    assert int(poles.sum()) < 0.02 * mask.sum()
    for axis, *place in unexplained.tolist():
        around = tuple(slice(max(i - 1, 0), i + 3) for i in place)
        assert bool(poles[around].any()), (axis, place)


def _poles(phase):
    """(x, y, z) bool: lower corners of the squares of four voxels around which the phase makes a whole turn."""
    found = torch.zeros(phase.shape, dtype=torch.bool)
    for a, b in ((0, 1), (0, 2), (1, 2)):
        one, two = wrap(differences(phase, a)), wrap(differences(phase, b))
        circulation = one + torch.roll(two, -1, a) - torch.roll(one, -1, b) - two
        square = tuple(slice(0, -1) if axis in (a, b) else slice(None) for axis in range(3))
        found[square] |= circulation[square].abs() > math.pi
    return found


def test_echoes_agree(brain):
    """Phases grow in proportion to the echo time: what differs is noise, far below a turn."""
    data, mask, unwrapped = brain
    bend = unwrapped.phase[2] - 2 * unwrapped.phase[1] + unwrapped.phase[0]
    assert float(bend[mask].abs().median()) < 0.1
    assert float(bend[mask].abs().quantile(0.99)) < 0.5
    for echo, time in enumerate(TIMES):
        offset = unwrapped.phase[echo] + unwrapped.offset - data[echo].angle()
        turns = offset[mask] / (2 * math.pi)
        assert float((turns - turns.round()).abs().max()) < 1e-4, time


def test_field_of_two_and_of_three_echoes_agree(brain):
    data, mask, unwrapped = brain
    all_echoes = combine_echoes(unwrapped, data.abs(), TIMES)
    fewer = unwrap_echoes(data[:2], TIMES[:2], mask, voxel_size=VOXEL)
    two = combine_echoes(fewer, data[:2].abs(), TIMES[:2])
    difference = (all_echoes.frequency - two.frequency)[mask]
    assert float(difference.abs().median()) < 2.0
    nonlinear = combine_echoes(unwrapped, data.abs(), TIMES, method="nonlinear")
    assert float((all_echoes.frequency - nonlinear.frequency)[mask].abs().quantile(0.99)) < 0.5
    # no whole turn between neighbours either: 1 / 4 ms
    steps = torch.stack([differences(all_echoes.frequency, axis) for axis in range(3)])
    assert float(steps[edges_inside(mask)].abs().max()) < 0.5 / 0.004
