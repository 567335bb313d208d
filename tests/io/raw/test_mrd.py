"""ISMRMRD: written and read back, and files built by the ismrmrd package itself."""

from __future__ import annotations

import dataclasses
import math
import sys
from pathlib import Path

import pytest
import torch

from fastqmri.core import FileError
from fastqmri.io.raw import LazySlices, RawScan, read_mrd, write_mrd


def a_scan(
    generator: torch.Generator, matrix: tuple[int, ...] = (6, 9), slices: int = 2, contrasts: int = 3
) -> RawScan:
    shape = (slices, contrasts, 4, *matrix)
    kspace = torch.randn(shape, dtype=torch.complex64, generator=generator)
    mask = torch.rand(slices, contrasts, *matrix, generator=generator) < 0.6
    mask[..., 0] = True
    affine = torch.tensor(
        [[0.0, 0, -2, 10], [0, 3, 0, -20], [5, 0, 0, 30], [0, 0, 0, 1]], dtype=torch.float64
    )
    return RawScan(
        kspace=kspace * mask[:, :, None],
        matrix=matrix,
        field_of_view=(0.005 * matrix[0], 0.003 * matrix[-2], 0.002 * matrix[-1])[-len(matrix) :],
        mask=mask if slices > 1 else mask[0],
        noise=torch.randn(4, 100, dtype=torch.complex64, generator=generator),
        calibration=torch.randn(slices, 4, *matrix, dtype=torch.complex64, generator=generator),
        affine=affine,
        echo_time=(0.003, 0.006, 0.009),
        repetition_time=(0.05,),
        flip_angle=(math.radians(15),),
        field_strength=3.0,
    )


def assert_same(one: RawScan, other: RawScan) -> None:
    one, other = one.loaded(), other.loaded()
    for field in dataclasses.fields(one):
        first, second = getattr(one, field.name), getattr(other, field.name)
        if field.name == "notes":
            continue
        if isinstance(first, torch.Tensor):
            torch.testing.assert_close(
                second, first, rtol=1e-5, atol=1e-4, msg=lambda m, n=field.name: f"{n}: {m}"
            )
        elif isinstance(first, tuple):
            assert second == pytest.approx(first, rel=1e-6), field.name
        else:
            assert first == second, field.name


@pytest.mark.parametrize(("matrix", "slices"), [((6, 9), 2), ((7, 8), 1), ((5, 6, 9), 1)])
def test_what_is_written_is_read_back(
    tmp_path: Path, generator: torch.Generator, matrix: tuple[int, ...], slices: int
) -> None:
    scan = a_scan(generator, matrix, slices)
    write_mrd(tmp_path / "scan.h5", scan)
    assert [file.name for file in tmp_path.iterdir()] == ["scan.h5"]
    back = read_mrd(tmp_path / "scan.h5")
    assert isinstance(back.kspace, LazySlices)
    assert_same(scan, back)
    assert_same(scan.slice(slices - 1), back.slice(slices - 1))


@pytest.mark.parametrize("axis", ["set", "repetition", "phase"])
def test_contrasts_are_found_in_the_counter_that_varies(
    tmp_path: Path, generator: torch.Generator, axis: str
) -> None:
    scan = a_scan(generator)
    write_mrd(tmp_path / "scan.h5", scan, contrast_axis=axis)
    assert_same(scan, read_mrd(tmp_path / "scan.h5"))


def test_trajectories_come_back(tmp_path: Path, generator: torch.Generator) -> None:
    trajectory = (torch.rand(2, 5000, 2, generator=generator) - 0.5) * 2 * math.pi
    scan = RawScan(
        kspace=torch.randn(1, 2, 3, 5000, dtype=torch.complex64, generator=generator),
        matrix=(24, 32),
        field_of_view=(0.24, 0.32),
        trajectory=trajectory,
    )
    write_mrd(tmp_path / "scan.h5", scan)
    assert_same(scan, read_mrd(tmp_path / "scan.h5"))


@pytest.mark.parametrize("package", ["h5py", "ismrmrd"])
def test_without_the_packages_of_the_extra(
    tmp_path: Path, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    scan = a_scan(generator)
    write_mrd(tmp_path / "scan.h5", scan)
    for name in list(sys.modules):
        if name.partition(".")[0] == package:
            monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(FileError, match=r"pip install fastqmri\[raw\]"):
        read_mrd(tmp_path / "scan.h5")
    with pytest.raises(FileError, match=package):
        write_mrd(tmp_path / "other.h5", scan)
    assert not (tmp_path / "other.h5").exists()
