from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.builders import write_nifti

from fastqmri.core import FileError, PlausibilityError, ShapeError
from fastqmri.io import read_diffusion, read_gradients

NEGATIVE = torch.diag(torch.tensor([-2.0, 2.0, 2.0, 1.0], dtype=torch.float64))
POSITIVE = torch.diag(torch.tensor([2.0, 2.0, 2.0, 1.0], dtype=torch.float64))


def write(folder: Path, bval: str, bvec: str) -> tuple[Path, Path]:
    (folder / "a.bval").write_text(bval)
    (folder / "a.bvec").write_text(bvec)
    return folder / "a.bval", folder / "a.bvec"


@pytest.mark.parametrize(("affine", "sign"), [(NEGATIVE, 1), (POSITIVE, -1)], ids=["negative", "positive"])
def test_first_component_turns_with_the_determinant(tmp_path: Path, affine: torch.Tensor, sign: int):
    files = write(tmp_path, "0 1000 1000\n", "0 1 0.6\n0 0 0.8\n0 0 0\n")
    b_values, b_vectors, notes = read_gradients(*files, affine)
    assert b_values == (0, 1000, 1000)
    np.testing.assert_allclose(b_vectors, [(0, 0, 0), (sign, 0, 0), (0.6 * sign, 0.8, 0)])
    assert not notes


def test_a_gradient_along_world_x_in_either_storage_order(tmp_path: Path):
    """The same physical gradient, with the image stored left-to-right or right-to-left.

    FSL's first axis runs from the patient's right to the left either way, so both files hold the same
    numbers; in voxel axes the two must differ in sign.
    """
    files = write(tmp_path, "1000 0\n", "-1 0\n0 0\n0 0\n")
    for affine in (NEGATIVE, POSITIVE):
        _, vectors, _ = read_gradients(*files, affine)
        in_world = affine[:3, :3] @ torch.tensor(vectors[0], dtype=torch.float64)
        assert in_world[0] > 0


@pytest.mark.parametrize("bval", ["0 1000", "0\n1000\n", "0,1000\n", "\ufeff0 1000\n", "0.0e0\t1e3"])
def test_layouts_of_b_values(tmp_path: Path, bval: str):
    files = write(tmp_path, bval, "0 1\n0 0\n0 0\n")
    assert read_gradients(*files, NEGATIVE)[0] == (0, 1000)


def test_vectors_in_columns_are_noted(tmp_path: Path):
    files = write(tmp_path, "0 1000", "0 0 0\n0.6 0.8 0\n")
    _, vectors, notes = read_gradients(*files, NEGATIVE)
    assert vectors == ((0, 0, 0), (0.6, 0.8, 0))
    assert "three columns" in notes[0]


def test_three_by_three_is_read_as_rows(tmp_path: Path):
    files = write(tmp_path, "0 1000 1000", "0 1 0\n0 0 0.6\n0 0 0.8\n")
    assert read_gradients(*files, NEGATIVE)[1] == ((0, 0, 0), (1, 0, 0), (0, 0.6, 0.8))


def test_rounded_vectors_become_unit(tmp_path: Path):
    files = write(tmp_path, "0 1000", "0 0.59\n0 0.79\n0 0\n")
    vectors = read_gradients(*files, NEGATIVE)[1]
    assert np.linalg.norm(vectors[1]) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("direction", ["0.5", "nan", "2"])
def test_directions_without_weighting_don_t_matter(tmp_path: Path, direction: str):
    files = write(tmp_path, "5 1000", f"{direction} 1\n{direction} 0\n{direction} 0\n")
    b_values, vectors, _ = read_gradients(*files, NEGATIVE)
    assert b_values[0] == 5
    assert vectors[0] == (0, 0, 0)


@pytest.mark.parametrize("direction", ["0.5", "nan", "1.2", "0"])
def test_weighted_directions_must_be_unit(tmp_path: Path, direction: str):
    files = write(tmp_path, "0 1000", f"0 {direction}\n0 0\n0 0\n")
    with pytest.raises(PlausibilityError, match=r"b-vector 2 of .*a\.bvec") as error:
        read_gradients(*files, NEGATIVE)
    assert "Normalise" in error.value.remedy


def test_counts_that_differ(tmp_path: Path):
    with pytest.raises(ShapeError, match=r"3 b-values.*2 b-vectors"):
        read_gradients(*write(tmp_path, "0 1000 1000", "0 1\n0 0\n0 0\n"), NEGATIVE)


@pytest.mark.parametrize(
    ("bval", "bvec", "words"),
    [
        ("0 1000", "0 1\n0 0\n", "2 rows"),
        ("0 1000", "0 1\n0 0 0\n0 0\n", "2, 3 numbers"),
        ("0 1000\n0 1000", "0 1\n0 0\n0 0\n", "2 rows"),
        ("0 high", "0 1\n0 0\n0 0\n", "high"),
        ("", "0 1\n0 0\n0 0\n", "no number"),
    ],
)
def test_tables_that_are_none(tmp_path: Path, bval: str, bvec: str, words: str):
    with pytest.raises(FileError, match=words):
        read_gradients(*write(tmp_path, bval, bvec), NEGATIVE)


def test_missing_or_binary_file(tmp_path: Path):
    bval, _ = write(tmp_path, "0 1000", "")
    with pytest.raises(FileError, match="No such file"):
        read_gradients(bval, tmp_path / "b.bvec", NEGATIVE)
    bval.write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(FileError, match="not a text file"):
        read_gradients(bval, None, NEGATIVE)


def test_negative_b_value(tmp_path: Path):
    with pytest.raises(PlausibilityError, match="b-value 2"):
        read_gradients(*write(tmp_path, "0 -1000", "0 1\n0 0\n0 0\n"), NEGATIVE)


def test_trace_images_need_no_vectors(tmp_path: Path):
    bval, _ = write(tmp_path, "0 500 1000", "")
    image = write_nifti(tmp_path / "a.nii.gz", np.ones((2, 3, 4, 3), np.float32))
    acquisition, notes = read_diffusion(image, bval)
    assert acquisition.b_value == (0, 500, 1000)
    assert acquisition.b_vector is None
    assert not notes


def test_volumes_and_b_values_must_agree(tmp_path: Path):
    bval, _ = write(tmp_path, "0 500 1000", "")
    image = write_nifti(tmp_path / "a.nii.gz", np.ones((2, 3, 4, 2), np.float32))
    with pytest.raises(ShapeError, match=r"2 volumes.*3 b-values"):
        read_diffusion(image, bval)


def test_b_values_in_the_wrong_unit(tmp_path: Path):
    bval, _ = write(tmp_path, "0 1 2", "")
    image = write_nifti(tmp_path / "a.nii.gz", np.ones((2, 3, 4, 3), np.float32))
    with pytest.raises(PlausibilityError, match="reads like ms/µm²"):
        read_diffusion(image, bval)


def test_a_real_series(test_data):
    folder = test_data("brain_dti16_uih_AP")
    acquisition, _ = read_diffusion(folder / "dwi.nii.gz", folder / "dwi.bval", folder / "dwi.bvec")
    assert acquisition.contrasts == 17
    lengths = np.linalg.norm(acquisition.b_vector, axis=1)
    np.testing.assert_allclose(lengths[np.array(acquisition.b_value) > 50], 1)
