from __future__ import annotations

import gzip
import os
import struct
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from tests.builders import AFFINE, SHAPE, write_nifti

from fastqmri.core import DataError, FileError, ShapeError
from fastqmri.io import read_grid, read_image, read_images, read_labels, read_map, read_mask, write_image
from fastqmri.io.nifti import check_size

RAMP = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)
SHEARED = AFFINE + np.array([[0, 0.8, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])


# --- reading --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_values_and_affine(tmp_path: Path, ending: str):
    image = read_image(write_nifti(tmp_path / f"a{ending}", RAMP))
    assert image.data.dtype == torch.float32
    assert torch.equal(image.data, torch.from_numpy(RAMP))
    np.testing.assert_array_equal(image.affine, nibabel.load(image.path).affine)
    assert image.affine.dtype == torch.float64
    np.testing.assert_allclose(image.voxel_size, image.grid.voxel_size, rtol=1e-6)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_slope_and_intercept_are_applied_once(tmp_path: Path, ending: str):
    image = nibabel.Nifti1Image(RAMP.astype(np.int16), AFFINE)
    image.header.set_slope_inter(2.0, 10.0)
    path = tmp_path / f"a{ending}"
    nibabel.save(image, path)
    # nibabel stores what, scaled, gives the data: make the stored numbers the ramp itself
    content = bytearray(gzip.decompress(path.read_bytes()) if ending == ".nii.gz" else path.read_bytes())
    content[352:] = RAMP.astype("<i2").tobytes(order="F")
    path.write_bytes(gzip.compress(bytes(content)) if ending == ".nii.gz" else bytes(content))
    assert struct.unpack("<ff", content[112:120]) == (2.0, 10.0)
    assert torch.equal(read_image(path).data, torch.from_numpy(2 * RAMP + 10))


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.float64, ">f4", ">i2", np.complex64, np.complex128])
def test_datatypes(tmp_path: Path, kind: object):
    data = RAMP.astype(kind)
    if np.iscomplexobj(data):
        data = data * (1 + 2j)
    image = nibabel.Nifti1Image(data, AFFINE)
    nibabel.save(image, tmp_path / "a.nii")
    read = read_image(tmp_path / "a.nii").data
    assert read.dtype == (torch.complex64 if np.iscomplexobj(data) else torch.float32)
    np.testing.assert_array_equal(read, data)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((4, 3), (4, 3, 1)),
        ((4, 3, 2, 1), (4, 3, 2)),
        ((4, 3, 1, 1, 6), (4, 3, 1, 6)),
        ((4, 3, 2, 6), (4, 3, 2, 6)),
    ],
)
def test_shapes(tmp_path: Path, shape: tuple[int, ...], expected: tuple[int, ...]):
    data = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    read = read_image(write_nifti(tmp_path / "a.nii", data)).data
    assert read.shape == expected
    np.testing.assert_array_equal(read, data.reshape(expected))
    grid, volumes = read_grid(tmp_path / "a.nii")
    assert (*grid.shape, volumes)[: len(expected)] == expected


def test_nifti2(tmp_path: Path):
    nibabel.save(nibabel.Nifti2Image(RAMP, AFFINE), tmp_path / "a.nii")
    assert torch.equal(read_image(tmp_path / "a.nii").data, torch.from_numpy(RAMP))


def broken_files(folder: Path) -> dict[str, tuple[Path, str]]:
    """Name of a fault -> the file that has it, and what the message must say."""
    noise = np.random.default_rng(0).normal(size=(20, 20, 20)).astype(np.float32)
    whole = write_nifti(folder / "whole.nii.gz", noise).read_bytes()
    plain = write_nifti(folder / "whole.nii", noise).read_bytes()
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 0xFF
    contents = {
        "empty": ("a.nii.gz", b"", "0 bytes"),
        "gz cut": ("b.nii.gz", whole[: len(whole) // 2], "ends early"),
        "gz cut in the header": ("c.nii.gz", whole[:30], "ends early"),
        "gz damaged": ("d.nii.gz", bytes(damaged), "damaged"),
        "plain cut": ("e.nii", plain[:2000], "ends early"),
        "not gzip": ("f.nii.gz", plain, "drop the .gz"),
        "gzip without .gz": ("g.nii", whole, "Add .gz"),
        "a web page": ("h.nii", b"<html>" * 200, "not a NIfTI"),
    }
    for name, content, _ in contents.values():
        (folder / name).write_bytes(content)
    return {fault: (folder / name, words) for fault, (name, _, words) in contents.items()}


@pytest.mark.parametrize(
    "fault",
    [
        "empty",
        "gz cut",
        "gz cut in the header",
        "gz damaged",
        "plain cut",
        "not gzip",
        "gzip without .gz",
        "a web page",
    ],
)
def test_broken_files_are_named(tmp_path: Path, fault: str):
    path, words = broken_files(tmp_path)[fault]
    with pytest.raises(FileError, match=words) as error:
        read_image(path)
    assert str(path) in error.value.read
    assert error.value.remedy
    if fault != "gz damaged":  # only reading all of it shows that
        with pytest.raises(FileError):
            check_size(path)


def test_size_check_passes_whole_files(tmp_path: Path):
    broken_files(tmp_path)
    check_size(tmp_path / "whole.nii")
    check_size(tmp_path / "whole.nii.gz")
    # a gzip file of two parts is legal; its last four bytes tell the length of the second part only
    content = (tmp_path / "whole.nii").read_bytes()
    (tmp_path / "two.nii.gz").write_bytes(gzip.compress(content[:500]) + gzip.compress(content[500:]))
    check_size(tmp_path / "two.nii.gz")


def test_missing_folder_and_dangling_link(tmp_path: Path):
    with pytest.raises(FileError, match="does not exist"):
        read_image(tmp_path / "a.nii.gz")
    (tmp_path / "b.nii").mkdir()
    with pytest.raises(FileError, match="is a folder"):
        read_image(tmp_path / "b.nii")
    (tmp_path / "c.nii").symlink_to(tmp_path / "annex")
    with pytest.raises(FileError, match="link to a file that is not there"):
        read_image(tmp_path / "c.nii")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_file_without_permission(tmp_path: Path):
    path = write_nifti(tmp_path / "a.nii", RAMP)
    path.chmod(0)
    with pytest.raises(FileError, match="not readable"):
        read_image(path)


def test_unusable_content(tmp_path: Path):
    colours = np.zeros(SHAPE, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    with pytest.raises(FileError, match="holds colours"):
        read_image(write_nifti(tmp_path / "a.nii", colours))
    with pytest.raises(FileError, match="no voxel"):
        read_image(write_nifti(tmp_path / "b.nii", np.zeros((0, 3, 4), np.float32)))
    with pytest.raises(FileError, match="four dimensions"):
        read_image(write_nifti(tmp_path / "c.nii", np.zeros((2, 3, 4, 2, 2), np.float32)))
    flat = nibabel.Nifti1Image(RAMP, None)
    flat.header["sform_code"] = 1  # and the rows of the matrix stay zero
    (tmp_path / "d.nii").write_bytes(flat.header.binaryblock + bytes(4) + RAMP.tobytes())
    with pytest.raises(FileError, match="can't be inverted"):
        read_image(tmp_path / "d.nii")
    nibabel.save(nibabel.MGHImage(RAMP, AFFINE), tmp_path / "e.mgh")
    with pytest.raises(FileError, match="only NIfTI"):
        read_image(tmp_path / "e.mgh")


# --- images that belong together ------------------------------------------------------------------------


def test_files_and_stack_give_the_same(tmp_path: Path):
    volumes = [RAMP, 2 * RAMP, -RAMP]
    paths = [write_nifti(tmp_path / f"{i}.nii.gz", v) for i, v in enumerate(volumes)]
    stack = write_nifti(tmp_path / "stack.nii.gz", np.stack(volumes, -1))
    data, grid = read_images(paths)
    from_stack, _ = read_images([stack])
    assert data.shape == (3, *SHAPE)
    assert data.is_contiguous()
    assert torch.equal(data, from_stack)
    np.testing.assert_allclose(grid.affine, AFFINE, atol=1e-6)


def test_no_image():
    with pytest.raises(FileError, match="no image"):
        read_images([])


def test_shapes_that_differ(tmp_path: Path):
    paths = [write_nifti(tmp_path / "a.nii", RAMP), write_nifti(tmp_path / "b.nii", RAMP[:4])]
    with pytest.raises(ShapeError) as error:
        read_images(paths)
    for word in ("a.nii", "b.nii", "5 × 4 × 3", "4 × 4 × 3"):
        assert word in error.value.read


@pytest.mark.parametrize(("shift", "fits"), [(1e-3, True), (0.01, False), (5.0, False)])
def test_affines_that_differ(tmp_path: Path, shift: float, fits: bool):
    moved = AFFINE.copy()
    moved[0, 3] += shift
    paths = [write_nifti(tmp_path / "a.nii", RAMP), write_nifti(tmp_path / "b.nii", RAMP, moved)]
    if fits:
        read_images(paths)
        return
    with pytest.raises(ShapeError, match="mm") as error:
        read_images(paths)
    assert "a.nii" in error.value.read
    assert "b.nii" in error.value.read


def test_stack_among_files(tmp_path: Path):
    paths = [
        write_nifti(tmp_path / "a.nii", RAMP),
        write_nifti(tmp_path / "b.nii", np.stack([RAMP, RAMP], -1)),
    ]
    with pytest.raises(ShapeError, match=r"b\.nii holds 2 volumes"):
        read_images(paths)


# --- masks and maps -------------------------------------------------------------------------------------


def test_mask(tmp_path: Path):
    values = np.zeros(SHAPE, np.float32)
    values[1:3], values[0, 0, 0], values[4, 0, 0] = 1, np.nan, 0.4
    grid, _ = read_grid(write_nifti(tmp_path / "image.nii", RAMP))
    mask = read_mask(write_nifti(tmp_path / "mask.nii.gz", values), grid)
    assert mask.dtype == torch.bool
    assert torch.equal(mask, torch.from_numpy(values == 1))


def test_mask_that_does_not_fit(tmp_path: Path):
    grid, _ = read_grid(write_nifti(tmp_path / "image.nii", RAMP))
    with pytest.raises(DataError, match="no voxel above"):
        read_mask(write_nifti(tmp_path / "empty.nii", 0 * RAMP), grid)
    with pytest.raises(ShapeError, match="must lie on the same voxels"):
        read_mask(write_nifti(tmp_path / "small.nii", RAMP[:3]), grid)
    with pytest.raises(ShapeError, match="2 volumes"):
        read_mask(write_nifti(tmp_path / "two.nii", np.stack([RAMP, RAMP], -1)), grid)


def test_labels_are_never_interpolated(tmp_path: Path):
    grid, _ = read_grid(write_nifti(tmp_path / "image.nii", RAMP))
    values = (RAMP % 3).astype(np.float32)
    values[0, 0, 0] = np.nan
    labels = read_labels(write_nifti(tmp_path / "labels.nii", values), grid)
    assert labels.dtype == torch.int32
    np.testing.assert_array_equal(labels, np.nan_to_num(values))
    with pytest.raises(ShapeError, match="same voxels"):
        read_labels(write_nifti(tmp_path / "small.nii", RAMP[:3]), grid)


def test_map_on_other_voxels_is_interpolated(tmp_path: Path):
    """A quantity linear in world coordinates must come out exact, whatever the grids."""
    fine = np.diag([1.0, 1.0, 1.0, 1.0])
    coarse = np.array([[-2.0, 0, 0, 12], [0, 2.5, 0, -2], [0, 0, 3.0, -2], [0, 0, 0, 1]])

    def linear(shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
        index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1)
        world = index @ affine[:3, :3].T + affine[:3, 3]
        return (1 + world @ [0.01, -0.02, 0.03]).astype(np.float32)

    grid, _ = read_grid(write_nifti(tmp_path / "image.nii", np.zeros((9, 8, 7), np.float32), fine))
    path = write_nifti(tmp_path / "b1.nii", linear((8, 6, 5), coarse), coarse)
    values, note = read_map(path, grid)
    np.testing.assert_allclose(values, linear((9, 8, 7), fine), rtol=1e-5)
    assert note is not None
    assert "2 × 2.5 × 3" in note


def test_map_elsewhere_is_refused(tmp_path: Path):
    far = AFFINE.copy()
    far[:3, 3] += 100
    grid, _ = read_grid(write_nifti(tmp_path / "image.nii", RAMP))
    with pytest.raises(ShapeError, match="covers 0 %"):
        read_map(write_nifti(tmp_path / "b1.nii", RAMP, far), grid)


def test_map_on_the_same_voxels_is_untouched(tmp_path: Path):
    grid, _ = read_grid(write_nifti(tmp_path / "image.nii", RAMP))
    values, note = read_map(write_nifti(tmp_path / "b1.nii", RAMP), grid)
    assert note is None
    assert torch.equal(values, torch.from_numpy(RAMP))


# --- writing --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("affine", [AFFINE, np.diag([2.0, 3.0, 4.0, 1.0])], ids=["oblique", "straight"])
def test_written_header(tmp_path: Path, affine: np.ndarray):
    path = tmp_path / "T1map.nii.gz"
    write_image(
        path, torch.from_numpy(RAMP), torch.from_numpy(affine), name="T1", unit="s", description="T1 map"
    )
    content = gzip.decompress(path.read_bytes())
    assert struct.unpack("<ff", content[112:120]) == (1.0, 0.0)
    header = nibabel.load(path).header
    assert header.get_data_dtype() == np.float32
    assert header.get_xyzt_units() == ("mm", "unknown")
    assert (int(header["sform_code"]), int(header["qform_code"])) == (1, 1)
    np.testing.assert_array_equal(header.get_sform(), affine.astype(np.float32))
    np.testing.assert_allclose(header.get_qform(), affine, atol=1e-5)
    assert int(header["intent_code"]) == 1001
    assert header["intent_name"].item() == b"T1 [s]"
    assert header["descrip"].item() == b"T1 map"


def test_affine_that_no_quaternion_expresses(tmp_path: Path):
    write_image(tmp_path / "a.nii", torch.from_numpy(RAMP), torch.from_numpy(SHEARED), name="T1", unit="s")
    header = nibabel.load(tmp_path / "a.nii").header
    assert (int(header["sform_code"]), int(header["qform_code"])) == (1, 0)
    np.testing.assert_array_equal(header.get_sform(), SHEARED.astype(np.float32))


def test_affine_survives_reading_and_writing(tmp_path: Path):
    image = read_image(write_nifti(tmp_path / "a.nii", RAMP))
    write_image(tmp_path / "b.nii", image.data, image.affine, name="T1", unit="s")
    assert torch.equal(read_image(tmp_path / "b.nii").affine, image.affine)


def test_nan_becomes_zero_and_flags_stay_bytes(tmp_path: Path):
    data = torch.tensor([[[1.0, torch.nan, torch.inf]]])
    write_image(tmp_path / "a.nii", data, None, name="T1", unit="s")
    assert read_image(tmp_path / "a.nii").data.flatten().tolist() == [1.0, 0.0, 0.0]
    write_image(
        tmp_path / "b.nii", torch.tensor([[[0, 129]]], dtype=torch.uint8), None, name="flags", unit="1"
    )
    stored = nibabel.load(tmp_path / "b.nii")
    assert stored.header.get_data_dtype() == np.uint8
    assert np.asarray(stored.dataobj).flatten().tolist() == [0, 129]


def test_volumes_have_a_time_unit(tmp_path: Path):
    write_image(tmp_path / "a.nii", torch.zeros(2, 3, 4, 5), torch.eye(4), name="T1", unit="s")
    assert nibabel.load(tmp_path / "a.nii").header.get_xyzt_units() == ("mm", "sec")


def test_same_maps_same_bytes(tmp_path: Path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_image(tmp_path / name / "T1.nii.gz", torch.from_numpy(RAMP), torch.eye(4), name="T1", unit="s")
    assert (tmp_path / "a/T1.nii.gz").read_bytes() == (tmp_path / "b/T1.nii.gz").read_bytes()


def test_long_and_foreign_names_fit_the_header(tmp_path: Path):
    write_image(
        tmp_path / "a.nii",
        torch.zeros(1, 1, 1),
        None,
        name="inversion_factor",
        unit="1",
        description="κ" * 200,
    )
    header = nibabel.load(tmp_path / "a.nii").header
    assert header["intent_name"].item() == b"inversion_facto"
    assert len(header["descrip"].item()) == 79
