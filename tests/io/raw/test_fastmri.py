"""HDF5 in the layout of fastMRI."""

from __future__ import annotations

from pathlib import Path

import h5py
import ismrmrd.xsd as xsd
import numpy as np
import pytest
import torch

from fastqmri.core import FileError
from fastqmri.io.raw import load_raw, read_fastmri
from fastqmri.physics.encoding import Fourier

SLICES, COILS, PHASE, WIDTH = 2, 3, 9, 8


def _header(wide: int = 2 * WIDTH) -> bytes:
    def space(x: int, y: int, length: float) -> xsd.encodingSpaceType:
        return xsd.encodingSpaceType(
            matrixSize=xsd.matrixSizeType(x=x, y=y, z=1),
            fieldOfView_mm=xsd.fieldOfViewMm(x=length, y=180, z=5),
        )

    header = xsd.ismrmrdHeader(
        experimentalConditions=xsd.experimentalConditionsType(H1resonanceFrequency_Hz=123_000_000),
        encoding=[
            xsd.encodingType(
                encodedSpace=space(wide, PHASE, 320.0),
                reconSpace=space(WIDTH, WIDTH, 160.0),
                encodingLimits=xsd.encodingLimitsType(),
                trajectory=xsd.trajectoryType.CARTESIAN,
            )
        ],
        sequenceParameters=xsd.sequenceParametersType(TR=[2200.0], TE=[2.6], TI=[], flipAngle_deg=[8.0]),
    )
    return xsd.ToXML(header).encode()


@pytest.fixture
def images(generator: torch.Generator) -> torch.Tensor:
    """(slice, coil, phase, readout with oversampling)."""
    images = torch.zeros(SLICES, COILS, PHASE, 2 * WIDTH, dtype=torch.complex64)
    inner = torch.randn(SLICES, COILS, PHASE, WIDTH, dtype=torch.complex64, generator=generator)
    images[..., WIDTH // 2 : WIDTH // 2 + WIDTH] = inner
    return images


def _write(path: Path, images: torch.Tensor, mask: np.ndarray | None, header: bytes | None) -> Path:
    kspace = Fourier(2)(images).mT.numpy()
    with h5py.File(path, "w") as file:
        file["kspace"] = kspace if mask is None else kspace * mask
        if mask is not None:
            file["mask"] = mask
        if header is not None:
            file["ismrmrd_header"] = header
    return path


def test_kspace_mask_and_header(tmp_path: Path, images: torch.Tensor) -> None:
    mask = np.arange(PHASE) % 2 == 0
    path = _write(tmp_path / "a.h5", images, mask, _header())
    scan = load_raw(path).loaded()
    truth = Fourier(2)(images[..., WIDTH // 2 : WIDTH // 2 + WIDTH])[:, None]
    truth = truth * torch.from_numpy(mask)[:, None]
    torch.testing.assert_close(scan.kspace, truth, atol=1e-5, rtol=1e-5)
    assert scan.mask is not None
    assert scan.mask[0].all(1).tolist() == mask.tolist()
    assert scan.mask[0].any(1).tolist() == mask.tolist()
    assert scan.field_of_view == pytest.approx((0.18, 0.16))
    assert scan.echo_time == pytest.approx((2.6e-3,))
    torch.testing.assert_close(scan.slice(1).kspace, truth[1:], atol=1e-5, rtol=1e-5)
    both = load_raw([path, path])
    assert (both.contrasts, both.echo_time) == (2, pytest.approx((2.6e-3,)))


def test_one_coil_without_mask_and_header(tmp_path: Path, images: torch.Tensor) -> None:
    images = images[:, 0]
    kspace = Fourier(2)(images)
    kspace[:, 3] = 0
    path = _write(tmp_path / "a.h5", Fourier(2).adjoint(kspace), None, None)
    with h5py.File(path, "r+") as file:
        file["kspace"][...] = kspace.mT.numpy()
    scan = read_fastmri(path).loaded()
    torch.testing.assert_close(scan.kspace[:, 0, 0], kspace)  # type: ignore[index]
    assert scan.mask is not None
    assert scan.mask[0].any(1).tolist() == [line != 3 for line in range(PHASE)]
    assert len(scan.notes) == 2


def test_broken_files(tmp_path: Path, images: torch.Tensor) -> None:
    path = _write(tmp_path / "a.h5", images, np.ones(PHASE + 1, bool)[:PHASE], _header(wide=12))
    with pytest.raises(FileError, match="12 samples on a readout"):
        read_fastmri(path)
    with h5py.File(path, "r+") as file:
        del file["mask"]
        del file["ismrmrd_header"]
        file["mask"] = np.ones(5)
    with pytest.raises(FileError, match="mask of 5 lines"):
        read_fastmri(path)
    with h5py.File(path, "r+") as file:
        del file["kspace"]
        file["kspace"] = np.zeros((2, 3, 4))
    with pytest.raises(FileError, match="complex"):
        read_fastmri(path)
    whole = _write(tmp_path / "b.h5", images, None, None).read_bytes()
    (tmp_path / "b.h5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FileError, match="whole HDF5"):
        load_raw(tmp_path / "b.h5")
