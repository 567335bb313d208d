from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.builders import SHAPE, write_nifti

from fastqmri.core import DataError, MultiEchoSpinEcho, ShapeError, VariableFlipAngle
from fastqmri.io import load_plain

ECHOES = MultiEchoSpinEcho(echo_time=("10ms", "20ms", "30ms"))
VOLUMES = np.random.default_rng(1).uniform(1, 2, (*SHAPE, 3)).astype(np.float32)


def test_files_or_stack(tmp_path: Path):
    paths = [write_nifti(tmp_path / f"{i}.nii.gz", VOLUMES[..., i]) for i in range(3)]
    stack = write_nifti(tmp_path / "stack.nii", VOLUMES)
    for images in (paths, [stack]):
        measurement, notes = load_plain(images, ECHOES, noise=0.1)
        assert torch.equal(measurement.data, torch.from_numpy(VOLUMES).movedim(-1, 0))
        assert measurement.noise == 0.1
        assert measurement.affine is not None
        assert measurement.mask is None
        assert not notes


def test_mask_and_b1(tmp_path: Path):
    acquisition = VariableFlipAngle(flip_angle=("3deg", "10deg", "20deg"), repetition_time="15ms")
    stack = write_nifti(tmp_path / "stack.nii", VOLUMES)
    inside = VOLUMES[..., 0] > 1.5
    mask = write_nifti(tmp_path / "mask.nii", inside.astype(np.uint8))
    b1 = write_nifti(tmp_path / "b1.nii", 100 * VOLUMES[..., 1])
    measurement, notes = load_plain([stack], acquisition, mask=mask, b1=b1)
    assert torch.equal(measurement.mask, torch.from_numpy(inside))
    np.testing.assert_allclose(measurement.known["B1"], VOLUMES[..., 1], rtol=1e-6)
    assert len(notes) == 1
    assert "b1.nii has a median of" in notes[0]


@pytest.mark.parametrize("count", [2, 4])
def test_images_and_parameters_must_agree(tmp_path: Path, count: int):
    paths = [write_nifti(tmp_path / f"{i}.nii.gz", VOLUMES[..., 0]) for i in range(count)]
    stack = write_nifti(tmp_path / "stack.nii", np.repeat(VOLUMES[..., :1], count, -1))
    with pytest.raises(ShapeError, match=f"{count} image files, but 3 echo times"):
        load_plain(paths, ECHOES)
    with pytest.raises(ShapeError, match=rf"{count} volumes in .*stack\.nii, but 3 echo times"):
        load_plain([stack], ECHOES)


def test_mask_of_another_image(tmp_path: Path):
    stack = write_nifti(tmp_path / "stack.nii", VOLUMES)
    mask = write_nifti(tmp_path / "mask.nii", np.ones((4, 4, 3), np.uint8))
    with pytest.raises(ShapeError, match=r"mask\.nii"):
        load_plain([stack], ECHOES, mask=mask)


def test_nothing_finite(tmp_path: Path):
    stack = write_nifti(tmp_path / "stack.nii", VOLUMES * np.nan)
    with pytest.raises(DataError):
        load_plain([stack], ECHOES)


def test_complex_file(tmp_path: Path):
    stack = write_nifti(tmp_path / "stack.nii", VOLUMES * np.complex64(1j))
    measurement, _ = load_plain([stack], ECHOES)
    assert measurement.data.dtype == torch.complex64
