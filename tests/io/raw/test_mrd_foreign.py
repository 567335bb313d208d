"""ISMRMRD files that the ismrmrd package wrote, whole and broken."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import ismrmrd
import ismrmrd.xsd as xsd
import numpy as np
import pytest
import torch

from fastqmri.core import DataError, FastqmriError, FileError, ShapeError, UnknownNameError
from fastqmri.io.raw import load_raw, read_mrd, write_mrd
from fastqmri.physics.encoding import Fourier

LINES, WIDTH, COILS, CONTRASTS = 12, 10, 3, 2
Change = Callable[[list[Any]], list[Any] | None]


def _header(wide: int = 2 * WIDTH, trajectory: str = "cartesian", contrasts: int = CONTRASTS) -> Any:
    def space(x: int, length: float) -> Any:
        return xsd.encodingSpaceType(
            matrixSize=xsd.matrixSizeType(x=x, y=LINES, z=1),
            fieldOfView_mm=xsd.fieldOfViewMm(x=length, y=240, z=5),
        )

    def limit(last: int, centre: int = 0) -> Any:
        return xsd.limitType(minimum=0, maximum=last, center=centre)

    return xsd.ismrmrdHeader(
        acquisitionSystemInformation=xsd.acquisitionSystemInformationType(systemFieldStrength_T=2.89),
        experimentalConditions=xsd.experimentalConditionsType(H1resonanceFrequency_Hz=123_000_000),
        encoding=[
            xsd.encodingType(
                encodedSpace=space(wide, 20.0 * wide),
                reconSpace=space(WIDTH, 20.0 * WIDTH),
                encodingLimits=xsd.encodingLimitsType(
                    kspace_encoding_step_1=limit(LINES - 3, LINES // 2 - 2), contrast=limit(contrasts - 1)
                ),
                trajectory=xsd.trajectoryType(trajectory),
            )
        ],
        sequenceParameters=xsd.sequenceParametersType(
            TR=[50.0], TE=[4.0, 9.5], TI=[700.0], flipAngle_deg=[90.0]
        ),
    )


def _images(generator: torch.Generator) -> torch.Tensor:
    """(contrast, coil, y, x with oversampling): nothing outside the middle."""
    images = torch.zeros(CONTRASTS, COILS, LINES, 2 * WIDTH, dtype=torch.complex64)
    shape = (CONTRASTS, COILS, LINES, WIDTH)
    images[..., WIDTH // 2 : WIDTH // 2 + WIDTH] = torch.randn(
        shape, dtype=torch.complex64, generator=generator
    )
    return images


def _acquisitions(kspace: torch.Tensor) -> list[Any]:
    """Lines 2 to 11 of partial Fourier, numbered from zero, the middle at LINES // 2 - 2."""
    found = []
    for contrast in range(len(kspace)):
        for line in range(LINES - 2):
            one = ismrmrd.Acquisition.from_array(np.ascontiguousarray(kspace[contrast, :, line + 2].numpy()))
            one.idx.contrast, one.idx.kspace_encode_step_1 = contrast, line
            one.center_sample, one.sample_time_us = kspace.shape[-1] // 2, 5.0
            one.read_dir, one.phase_dir, one.slice_dir = (1, 0, 0), (0, 1, 0), (0, 0, 1)
            found.append(one)
    return found


def _write(path: Path, header: Any, acquisitions: list[Any]) -> Path:
    with ismrmrd.Dataset(str(path), mode="w") as file:
        file.write_xml_header(xsd.ToXML(header).encode())
        for one in acquisitions:
            file.append_acquisition(one)
    return path


@pytest.fixture
def written(tmp_path: Path, generator: torch.Generator) -> Callable[..., Path]:
    """Writes the file, with its acquisitions changed."""
    images = _images(generator)

    def write(change: Change | None = None, **header: Any) -> Path:
        found = _acquisitions(Fourier(2)(images))
        if change is not None:
            found = change(found) or found
        return _write(tmp_path / "foreign.h5", _header(**header), found)

    return write


def test_oversampling_partial_fourier_and_units(
    written: Callable[..., Path], generator: torch.Generator
) -> None:
    scan = read_mrd(written()).loaded()
    middle = _images(torch.Generator().manual_seed(20250117))[..., WIDTH // 2 : WIDTH // 2 + WIDTH]
    truth = Fourier(2)(middle)
    truth[:, :, :2] = 0
    assert isinstance(scan.kspace, torch.Tensor)
    torch.testing.assert_close(scan.kspace[0], truth, atol=1e-5, rtol=1e-5)
    assert scan.mask is not None
    assert scan.mask.shape == (1, LINES, WIDTH)
    assert not bool(scan.mask[:, :2].any())
    assert bool(scan.mask[:, 2:].all())
    assert scan.echo_time == pytest.approx((4e-3, 9.5e-3))
    assert scan.repetition_time == pytest.approx((0.05,))
    assert scan.inversion_time == pytest.approx((0.7,))
    assert scan.flip_angle == pytest.approx((math.pi / 2,))
    assert scan.field_strength == pytest.approx(2.89)
    assert scan.field_of_view == pytest.approx((0.24, 0.2))
    assert scan.affine is not None
    # LPS to RAS: the middle voxel at the isocentre, 20 mm voxels to the left and back
    place = scan.affine @ torch.tensor([0.0, LINES // 2, WIDTH // 2, 1], dtype=torch.float64)
    assert place.tolist() == pytest.approx([0, 0, 0, 1])
    assert scan.affine[0].tolist() == pytest.approx([0, 0, -20, 20 * WIDTH / 2])


def test_averages_are_averaged(written: Callable[..., Path], tmp_path: Path) -> None:
    def twice(found: list[Any]) -> list[Any]:
        more = []
        for one in found:
            again = ismrmrd.Acquisition.from_array(np.ascontiguousarray(3 * one.data))
            again.setHead(one.getHead())
            again.data[:] = 3 * one.data
            again.idx.average = 1
            more.append(again)
        return found + more

    plain = read_mrd(written()).loaded().kspace
    scan = read_mrd(written(twice))
    assert any("averages" in note for note in scan.notes)
    torch.testing.assert_close(scan.loaded().kspace, 2 * plain, atol=1e-5, rtol=1e-5)


def test_noise_is_used_and_not_data(written: Callable[..., Path], generator: torch.Generator) -> None:
    covariance = torch.tensor([[2.0, 1.0, 0], [1.0, 3.0, 0], [0, 0, 0.5]], dtype=torch.complex64)
    factor = torch.linalg.cholesky(covariance)
    noise = factor @ torch.randn(COILS, 40_000, dtype=torch.complex64, generator=generator)

    def add(found: list[Any]) -> list[Any]:
        one = ismrmrd.Acquisition.from_array(noise.numpy())
        one.setFlag(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
        one.sample_time_us = 20.0  # a quarter of the bandwidth: half as strong as in the image
        return [one, *found]

    plain = read_mrd(written()).loaded()
    scan = read_mrd(written(add))
    assert scan.noise is not None
    torch.testing.assert_close(scan.noise, 2 * noise)
    torch.testing.assert_close(scan.loaded().kspace, plain.kspace)
    white = scan.prewhitened().loaded()
    whitened = torch.linalg.solve_triangular(
        2 * factor, plain.kspace[0].movedim(1, 0).flatten(1), upper=False
    )
    expected = whitened.unflatten(1, (CONTRASTS, LINES, WIDTH)).movedim(0, 1)
    assert isinstance(white.kspace, torch.Tensor)
    # 40 000 samples fix the covariance to about 1 %
    torch.testing.assert_close(white.kspace[0], expected, atol=0.05, rtol=0.05)


def test_calibration_and_lines_that_are_no_images(written: Callable[..., Path]) -> None:
    def flagged(found: list[Any]) -> list[Any]:
        extra = []
        for line in range(4, 7):
            one = ismrmrd.Acquisition.from_array(np.ascontiguousarray(5 * found[line].data))
            one.setHead(found[line].getHead())
            one.data[:] = 5 * found[line].data
            one.setFlag(ismrmrd.ACQ_IS_PARALLEL_CALIBRATION)
            extra.append(one)
        for flag in (
            ismrmrd.ACQ_IS_NAVIGATION_DATA,
            ismrmrd.ACQ_IS_DUMMYSCAN_DATA,
            ismrmrd.ACQ_IS_PHASECORR_DATA,
        ):
            one = ismrmrd.Acquisition.from_array(np.full((COILS, 2 * WIDTH), 1e3, np.complex64))
            one.setFlag(flag)
            extra.append(one)
        found[3].setFlag(ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING)
        return found + extra

    plain = read_mrd(written()).loaded()
    scan = read_mrd(written(flagged)).loaded()
    torch.testing.assert_close(scan.kspace, plain.kspace)
    assert isinstance(scan.calibration, torch.Tensor)
    assert isinstance(plain.kspace, torch.Tensor)
    torch.testing.assert_close(scan.calibration[0, :, 6:9], 5 * plain.kspace[0, 0, :, 6:9])
    assert float(scan.calibration[0, :, :6].abs().max()) == 0
    for what in ("navigator", "dummy", "phase-correction"):
        assert any(what in note for note in scan.notes)


def test_reversed_readouts_and_asymmetric_echoes(written: Callable[..., Path]) -> None:
    plain = read_mrd(written()).loaded()

    def backwards(found: list[Any]) -> None:
        for one in found[1::2]:
            one.data[:] = np.ascontiguousarray(one.data[:, ::-1])
            one.setFlag(ismrmrd.ACQ_IS_REVERSE)

    torch.testing.assert_close(
        read_mrd(written(backwards)).loaded().kspace, plain.kspace, atol=1e-5, rtol=1e-5
    )

    def late(found: list[Any]) -> None:
        for one in found:
            kept = np.ascontiguousarray(one.data[:, 6:])
            one.resize(2 * WIDTH - 6, COILS)
            one.data[:] = kept
            one.center_sample = WIDTH - 6

    scan = read_mrd(written(late, wide=2 * WIDTH)).loaded()
    assert scan.mask is not None
    # 6 of 20 samples are missing on the left: 3 of 10 without oversampling
    assert scan.mask[0, 4].tolist() == [False] * 3 + [True] * 7


def test_contrasts_that_several_counters_number(written: Callable[..., Path]) -> None:
    def both(found: list[Any]) -> None:
        for place, one in enumerate(found):
            one.idx.contrast, one.idx.set = 0, place // (LINES - 2)
            one.idx.repetition = one.idx.set

    path = written(both, contrasts=1)
    with pytest.raises(FileError, match=r"set \(0 to 1\), repetition \(0 to 1\) vary"):
        read_mrd(path)
    with pytest.raises(UnknownNameError, match="echo"):
        read_mrd(path, contrast_axis="echo")
    with pytest.raises(FileError, match="no readout of contrast"):
        read_mrd(path, contrast_axis="set+repetition")  # only 2 of the 4 combinations


def test_several_files_are_contrasts(tmp_path: Path, generator: torch.Generator) -> None:
    kspace = Fourier(2)(_images(generator))
    paths = []
    for contrast in range(CONTRASTS):
        header = _header(contrasts=1)
        header.sequenceParameters.TE = [4.0 + contrast]
        paths.append(
            _write(tmp_path / f"{contrast}.h5", header, _acquisitions(kspace[contrast : contrast + 1]))
        )
    scan = load_raw(paths)
    assert scan.contrasts == 2
    assert scan.echo_time == pytest.approx((4e-3, 5e-3))
    assert scan.repetition_time == pytest.approx((0.05,))
    whole = read_mrd(_write(tmp_path / "whole.h5", _header(), _acquisitions(kspace)))
    torch.testing.assert_close(scan.loaded().kspace, whole.loaded().kspace)
    torch.testing.assert_close(scan.slice(0).kspace, whole.slice(0).kspace)
    other = _write(tmp_path / "coils.h5", _header(contrasts=1), _acquisitions(kspace[:1, :2]))
    with pytest.raises(ShapeError, match="coils 2, but 3"):
        load_raw([paths[0], other])


def _fewer_coils(found: list[Any]) -> None:
    kept = np.ascontiguousarray(found[7].data[:2])
    found[7].resize(2 * WIDTH, 2)
    found[7].data[:] = kept


def _flag(number: int) -> Change:
    return lambda found: found[3].setFlag(number)


def _step(line: int) -> Change:
    def change(found: list[Any]) -> None:
        found[3].idx.kspace_encode_step_1 = line

    return change


def _nan(found: list[Any]) -> None:
    found[3].data[0, 0] = np.nan


def _only_noise(found: list[Any]) -> None:
    for one in found:
        one.setFlag(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        (_fewer_coils, ShapeError, "2 and 3 coils"),
        (_flag(40), FileError, "acquisition flags 40"),
        (_flag(ismrmrd.ACQ_COMPRESSION1), FileError, "compressed"),
        (_step(50), FileError, "lines 2 to 52"),
        (lambda found: found[: LINES - 2], FileError, "no readout of contrast 1"),
        (_only_noise, FileError, "none of them of an image"),
        (_nan, FileError, "NaN"),
    ],
)
def test_broken_content(
    written: Callable[..., Path], change: Change, error: type[FastqmriError], says: str
) -> None:
    path = written(change)
    with pytest.raises(error, match=says) as caught:
        read_mrd(path).loaded()
    assert caught.value.remedy


def test_a_wider_readout_than_the_matrix(written: Callable[..., Path]) -> None:
    with pytest.raises(FileError, match="encodedSpace"):
        read_mrd(written(wide=WIDTH))


def test_user_flags_are_told(written: Callable[..., Path]) -> None:
    assert any("user flags 2" in note for note in read_mrd(written(_flag(ismrmrd.ACQ_USER2))).notes)


def test_files_that_are_cut_short_or_something_else(written: Callable[..., Path], tmp_path: Path) -> None:
    path = written()
    whole = path.read_bytes()
    for part in (0.3, 0.9):
        path.write_bytes(whole[: int(part * len(whole))])
        with pytest.raises(FileError, match="whole HDF5"):
            load_raw(path)
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["image"] = np.zeros(3)
    with pytest.raises(FileError, match="HDF5 with image"):
        load_raw(other)
    with pytest.raises(FileError, match="HDF5 with image"):
        read_mrd(other)
    text = tmp_path / "note.txt"
    text.write_text("no raw data")
    with pytest.raises(FileError, match="begins with"):
        load_raw(text)
    with pytest.raises(FileError, match="no such file"):
        load_raw(tmp_path / "nothing.h5")
    with pytest.raises(UnknownNameError, match="dicom"):
        load_raw(text, kind="dicom")
    with pytest.raises(FileError, match="at least one"):
        load_raw([])


def test_a_header_that_is_no_header(written: Callable[..., Path]) -> None:
    path = written()
    with h5py.File(path, "r+") as file:
        file["dataset"]["xml"][0] = b"<nothing/>"
    with pytest.raises(FileError, match="XML header"):
        read_mrd(path)


def _radial(path: Path, generator: torch.Generator, scale: float, **change: Any) -> Path:
    found = []
    for contrast in range(CONTRASTS):
        for spoke in range(5):
            angle = math.pi * (spoke + contrast / 2) / 5
            radius = (np.arange(16) - 8) / 16 * scale
            line = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1).astype(np.float32)
            data = torch.randn(COILS, 16, dtype=torch.complex64, generator=generator).numpy()
            one = ismrmrd.Acquisition.from_array(data, line)
            one.idx.contrast, one.idx.kspace_encode_step_1 = contrast, spoke
            found.append(one)
    return _write(path, _header(wide=WIDTH, trajectory="radial"), found[: change.get("kept", len(found))])


@pytest.mark.parametrize(("unit", "scale"), [("1/voxel", 1.0), ("rad/voxel", 2 * math.pi)])
def test_trajectories_in_their_units(
    tmp_path: Path, generator: torch.Generator, unit: str, scale: float
) -> None:
    path = _radial(tmp_path / "radial.h5", generator, scale)
    scan = read_mrd(path)
    assert scan.trajectory is not None
    assert scan.trajectory.shape == (CONTRASTS, 80, 2)
    assert any(unit in note for note in scan.notes)
    torch.testing.assert_close(scan.trajectory, read_mrd(path, trajectory_unit=unit).trajectory)
    # (y, x): the second spoke of the first contrast, its first sample at -π
    expected = -math.pi * torch.tensor([math.sin(math.pi / 5), math.cos(math.pi / 5)])
    torch.testing.assert_close(scan.trajectory[0, 16], expected, atol=1e-5, rtol=1e-5)
    with h5py.File(path) as file:
        first = file["dataset"]["data"][5]["data"].view(np.complex64).reshape(COILS, 16)
    np.testing.assert_array_equal(scan.slice(0).kspace[0, 1, :, :16].numpy(), first)  # type: ignore[index]


def test_trajectories_that_cannot_be(tmp_path: Path, generator: torch.Generator) -> None:
    path = _radial(tmp_path / "radial.h5", generator, 100.0)
    with pytest.raises(FileError, match="rad per voxel"):
        read_mrd(path)
    with pytest.raises(UnknownNameError, match="furlong"):
        read_mrd(path, trajectory_unit="1/furlong")
    short = _radial(tmp_path / "short.h5", generator, 1.0, kept=9)
    with pytest.raises(FileError, match="64 to 80 samples"):
        read_mrd(short)


def test_nothing_half_written(tmp_path: Path, written: Callable[..., Path]) -> None:
    scan = read_mrd(written()).loaded()
    folder = tmp_path / "out"
    assert isinstance(scan.kspace, torch.Tensor)
    scan.kspace[0, 1, 0, 5, 5] = torch.nan
    with pytest.raises(DataError, match="NaN"):
        write_mrd(folder / "scan.h5", scan)
    assert list(folder.iterdir()) == []
    with pytest.raises(UnknownNameError, match="slice"):
        write_mrd(folder / "scan.h5", scan, contrast_axis="slice")


def test_what_we_write_the_ismrmrd_package_reads(tmp_path: Path, written: Callable[..., Path]) -> None:
    scan = read_mrd(written()).loaded()
    write_mrd(tmp_path / "ours.h5", scan)
    with ismrmrd.Dataset(str(tmp_path / "ours.h5"), mode="r") as file:
        header = xsd.CreateFromDocument(file.read_xml_header())
        assert list(header.sequenceParameters.TE) == pytest.approx([4.0, 9.5])
        assert file.number_of_acquisitions() == CONTRASTS * (LINES - 2)
        one = file.read_acquisition(LINES - 2 + 4)
    assert (one.idx.contrast, one.idx.kspace_encode_step_1) == (1, 6)
    assert isinstance(scan.kspace, torch.Tensor)
    np.testing.assert_allclose(one.data, scan.kspace[0, 1, :, 6].numpy())
