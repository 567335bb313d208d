"""k-space of scanners: a Siemens gradient echo, and an undersampled brain of eight coils."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from fastqmri.core import FileError
from fastqmri.estimators.reconstruction.coil_maps import calibration_region, espirit, estimate_sensitivities
from fastqmri.io.raw import RawScan, load_raw, read_mrd, write_mrd
from fastqmri.physics.encoding import CartesianEncoding, Fourier
from fastqmri.solvers.conjugate_gradient import conjugate_gradient

TestData = Callable[[str], Path]


@pytest.fixture(scope="module")
def gradient_echo(test_data: TestData) -> RawScan:
    return load_raw(test_data("siemens_raw_gre_2ch") / "gre.dat").loaded()


@pytest.fixture(scope="module")
def brain(test_data: TestData) -> tuple[torch.Tensor, torch.Tensor]:
    kspace = np.load(test_data("brain_kspace_8ch_undersampled") / "ksp.npz")["ksp"]
    scaled = torch.from_numpy(kspace / np.abs(kspace).max())[None]
    return scaled, (scaled != 0).any(1)


def test_siemens_samples_and_header(gradient_echo: RawScan, test_data: TestData) -> None:
    """The samples are twixtools' own, but for √2 of the orthonormal transform."""
    own = np.load(test_data("siemens_raw_gre_2ch") / "gre_ksp.npz")["ksp"].transpose(1, 0, 2)
    assert isinstance(gradient_echo.kspace, torch.Tensor)
    np.testing.assert_allclose(
        gradient_echo.kspace[0, 0].numpy(), np.sqrt(2) * own, atol=1e-5 * np.abs(own).max(), rtol=0
    )
    assert gradient_echo.echo_time == pytest.approx((0.003,))
    assert gradient_echo.repetition_time == pytest.approx((0.010,))
    assert gradient_echo.flip_angle == pytest.approx((np.radians(15),))
    assert gradient_echo.inversion_time == ()
    assert gradient_echo.field_strength == pytest.approx(2.89362)
    assert gradient_echo.field_of_view == pytest.approx((0.2, 0.2))
    affine = gradient_echo.affine
    assert affine is not None
    # the protocol's slice: 4 mm thick, its normal and middle in left, back, head
    assert (affine[:3, 0] / 4).tolist() == pytest.approx([0, -0.0383878, 0.9992630], abs=1e-5)
    middle = affine @ torch.tensor([0.0, 80, 80, 1], dtype=torch.float64)
    assert middle[:3].tolist() == pytest.approx([2.58970, -53.92243, -53.99947], abs=1e-4)


def test_siemens_image_of_coil_maps(gradient_echo: RawScan) -> None:
    """Fully sampled, one set of maps holds nearly all of what the coils see of the phantom's water."""
    assert isinstance(gradient_echo.kspace, torch.Tensor)
    assert gradient_echo.mask is not None
    kspace = gradient_echo.kspace[0]
    maps = estimate_sensitivities(kspace, gradient_echo.mask)
    coils = Fourier(2).adjoint(kspace)[0]
    combined = (maps.conj() * coils).sum(0)
    squares = coils.abs().square().sum(0).sqrt()
    object_ = squares > 0.4 * squares.max()
    assert 0.3 < float(object_.float().mean()) < 0.8
    agreement = combined.abs()[object_] / squares[object_]
    assert float(agreement.median()) > 0.995
    assert float((agreement > 0.95).float().mean()) > 0.97


def test_siemens_through_ismrmrd(gradient_echo: RawScan, tmp_path: Path) -> None:
    write_mrd(tmp_path / "gre.h5", gradient_echo)
    back = read_mrd(tmp_path / "gre.h5").loaded()
    assert torch.equal(back.kspace, gradient_echo.kspace)  # type: ignore[arg-type]
    torch.testing.assert_close(back.affine, gradient_echo.affine, atol=1e-3, rtol=1e-5)
    assert back.echo_time == pytest.approx(gradient_echo.echo_time)


@pytest.mark.parametrize("part", [0.3, 0.99])
def test_siemens_files_cut_short(test_data: TestData, tmp_path: Path, part: float) -> None:
    path = tmp_path / "gre.dat"
    shutil.copy(test_data("siemens_raw_gre_2ch") / "gre.dat", path)
    path.chmod(0o644)
    with path.open("rb+") as file:
        file.truncate(int(part * path.stat().st_size))
    with pytest.raises(FileError, match="cut short"):
        load_raw(path)
    path.write_bytes(b"\0" * 20)
    with pytest.raises(FileError):
        load_raw(path)


# sigpy 0.1.27's EspiritCalib (calib_width=24, thresh=0.02, crop=0) on the same data: the sensitivities of all coils,
# the first one real, and the eigenvalue
PEER = {
    (60, 60): [0.13454, 0.19319 - 0.19166j, -0.0477 - 0.558j, -0.57847 - 0.18883j, 0.21801 - 0.30702j,
               -0.06127 - 0.19856j, 0.04553 - 0.17021j, -0.00617 - 0.08868j],
    (115, 90): [0.26523, 0.22975 - 0.21363j, 0.03751 - 0.31646j, -0.09913 - 0.29483j, 0.33865 + 0.21325j,
                0.34518 - 0.26292j, 0.36817 - 0.28214j, 0.02175 - 0.26242j],
    (150, 130): [0.14796, 0.11557 - 0.03576j, 0.1054 - 0.06254j, 0.11413 - 0.05725j, -0.07955 + 0.19079j,
                 0.32719 + 0.23192j, 0.73008 + 0.21184j, 0.14044 - 0.36188j],
}  # fmt: skip
PEER_VALUES = {
    (60, 60): 0.99995,
    (115, 90): 0.99987,
    (10, 10): 0.37323,
    (220, 90): 0.94920,
    (20, 170): 0.50494,
}


def test_espirit_equals_another_program(brain: tuple[torch.Tensor, torch.Tensor]) -> None:
    kspace, mask = brain
    region = calibration_region(mask)
    assert region == (slice(103, 127), slice(78, 102))
    found = espirit(kspace[(slice(None), slice(None), *region)], (230, 180), threshold=0.02, crop=0)
    for (row, column), theirs in PEER.items():
        ours = found.maps[:, row, column]
        ours = ours * torch.sgn(ours[0]).conj()
        torch.testing.assert_close(ours, torch.tensor(theirs, dtype=torch.complex64), atol=3e-5, rtol=0)
    for place, value in PEER_VALUES.items():
        assert float(found.eigenvalues[place]) == pytest.approx(value, abs=1e-4)


@pytest.mark.parametrize("method", ["espirit", "walsh"])
def test_brain_predicts_samples_that_were_kept_from_it(
    brain: tuple[torch.Tensor, torch.Tensor], generator: torch.Generator, method: str
) -> None:
    """One in ten samples outside the centre are left out; SENSE halves the error that zero filling makes of them."""
    kspace, mask = brain
    kept_out = (torch.rand(mask.shape, generator=generator) < 0.1) & mask
    kept_out[(slice(None), *calibration_region(mask))] = False
    seen = mask & ~kept_out
    maps = estimate_sensitivities(kspace * seen[:, None], seen, method=method)
    encoding = CartesianEncoding(maps, seen)
    start = encoding.adjoint(kspace)
    images = conjugate_gradient(encoding.gram + 1e-2, start, iterations=30, tolerance=1e-4, dimensions=2)
    everything = CartesianEncoding(maps, torch.ones_like(mask))
    held = kept_out[:, None].expand_as(kspace)

    def error(guess: torch.Tensor) -> float:
        return float((everything(guess) - kspace)[held].norm() / kspace[held].norm())

    assert error(images) < 0.5 * error(start)
    assert error(images) < 0.4
    wrong = CartesianEncoding(maps.roll(1, 0), seen)  # sensitivities of other coils
    fooled = conjugate_gradient(
        wrong.gram + 1e-2, wrong.adjoint(kspace), iterations=30, tolerance=1e-4, dimensions=2
    )
    everything = CartesianEncoding(maps.roll(1, 0), torch.ones_like(mask))
    assert error(fooled) > 0.6
