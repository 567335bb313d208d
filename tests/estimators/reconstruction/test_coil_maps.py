"""Coil maps: synthetic ones recovered, calibration regions found by hand, another program's numbers."""

from __future__ import annotations

import pytest
import torch

from fastqmri.core import DataError, ShapeError, UnknownNameError
from fastqmri.estimators.reconstruction.coil_maps import (
    CoilMaps,
    calibration_region,
    espirit,
    estimate_sensitivities,
    walsh,
)
from fastqmri.physics.encoding import Fourier, synthetic_sensitivities


def _phantom(
    generator: torch.Generator, voxels: tuple[int, ...], contrasts: int = 2
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Maps, where the object is, and k-space of two contrasts."""
    maps = synthetic_sensitivities(voxels, 5, generator=generator)
    axes = torch.meshgrid(*[torch.linspace(-1, 1, side) for side in voxels], indexing="ij")
    inside = sum((axis / 0.7) ** 2 for axis in axes) < 1
    ripple = 1 + 0.5 * torch.sin(9 * axes[0]) * torch.cos(7 * axes[1])
    images = torch.stack([inside * ripple / (1 + c) for c in range(contrasts)])
    kspace = Fourier(len(voxels))(maps * images[:, None])
    kspace = kspace + 2e-3 * torch.randn(kspace.shape, dtype=kspace.dtype, generator=generator)
    return maps, inside, kspace


def _alike(found: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """|cosine| between coil vectors of voxels."""
    return (found.conj() * truth).sum(0).abs()


@pytest.mark.parametrize("voxels", [(48, 63), (17, 24, 22)])
@pytest.mark.parametrize(("method", "limit"), [("espirit", 0.999), ("walsh", 0.95)])
def test_synthetic_maps_are_recovered(
    generator: torch.Generator, voxels: tuple[int, ...], method: str, limit: float
) -> None:
    maps, inside, kspace = _phantom(generator, voxels)
    mask = torch.ones(1, *voxels, dtype=torch.bool)
    found = estimate_sensitivities(kspace, mask, method=method)
    assert found.shape == maps.shape
    assert float(_alike(found, maps)[inside].min()) > limit
    norms = found.abs().square().sum(0)
    torch.testing.assert_close(norms[inside], torch.ones_like(norms[inside]), atol=1e-4, rtol=0)
    assert bool(((norms < 1e-6) | ((norms - 1).abs() < 1e-4)).all())
    # phases are smooth where they are defined: that of the truth up to one common phase per voxel is compared above


def test_maps_of_other_coils_would_be_noticed(generator: torch.Generator) -> None:
    maps, inside, kspace = _phantom(generator, (48, 63))
    mask = torch.ones(1, 48, 63, dtype=torch.bool)
    shuffled = estimate_sensitivities(kspace.roll(1, 1), mask)
    assert float(_alike(shuffled, maps)[inside].median()) < 0.9


def test_the_leading_combination_is_real(generator: torch.Generator) -> None:
    _, _, kspace = _phantom(generator, (48, 63))
    region = (slice(12, 36), slice(20, 44))
    calibration = kspace[(slice(None), slice(None), *region)]
    flat = calibration.movedim(1, 0).flatten(1)
    leading = torch.linalg.svd(flat, full_matrices=False)[0][:, 0]
    for found in (espirit(calibration, (48, 63)), walsh(calibration, (48, 63))):
        assert isinstance(found, CoilMaps)
        combined = torch.tensordot(leading.conj(), found.maps, 1)[found.mask]
        combined = combined[combined.abs() > 0.05]
        phase = (combined / combined.abs()).mean()
        assert float(phase.abs()) == pytest.approx(1, abs=1e-4)


def test_a_background_has_no_sensitivity(generator: torch.Generator) -> None:
    """Where nothing is, noise of another kernel space leaves eigenvalues below one."""
    maps = synthetic_sensitivities((64, 64), 5, generator=generator)
    at = torch.linspace(-1, 1, 64)
    inside = (at[:, None] ** 2 + at[None] ** 2) < 0.3**2
    kspace = Fourier(2)(maps * inside)[None]
    kspace = kspace + 2e-3 * torch.randn(kspace.shape, dtype=kspace.dtype, generator=generator)
    found = espirit(kspace[..., 20:44, 20:44], (64, 64))
    assert bool(found.mask[inside].all())
    far = (at[:, None] ** 2 + at[None] ** 2) > 0.9**2
    assert float(found.mask[far].float().mean()) < 0.1
    assert float(found.eigenvalues[inside].min()) > 0.99
    assert float(found.eigenvalues.max()) < 1.0001


def test_calibration_regions_by_hand() -> None:
    mask = torch.zeros(2, 30, 41, dtype=torch.bool)
    mask[:, 10:19, 15:26] = True  # rows 10 to 18, columns 15 to 25; the middle is (15, 20)
    mask[1, 10] = False
    rows, columns = calibration_region(mask)
    assert bool(mask[:, rows, columns].all())
    assert (rows.start, rows.stop) == (11, 19)
    assert (columns.start, columns.stop) == (15, 25) or (columns.start, columns.stop) == (15, 26)
    full = torch.ones(1, 6, 100, dtype=torch.bool)
    assert calibration_region(full) == (slice(0, 6), slice(38, 62))


@pytest.mark.parametrize("fault", ["no centre", "small centre", "shifted"])
def test_no_calibration_region(generator: torch.Generator, fault: str) -> None:
    mask = torch.zeros(1, 40, 40, dtype=torch.bool)
    mask[:, ::4] = True
    if fault == "small centre":
        mask[:, 17:23] = True
    elif fault == "shifted":
        mask[:, 2:14] = True
        mask[:, 20] = False
    kspace = torch.randn(1, 3, 40, 40, dtype=torch.complex64, generator=generator) * mask
    with pytest.raises(DataError, match="fully sampled middle"):
        estimate_sensitivities(kspace, mask)


def test_bad_input(generator: torch.Generator) -> None:
    kspace = torch.randn(2, 3, 32, 32, dtype=torch.complex64, generator=generator)
    mask = torch.ones(1, 32, 32, dtype=torch.bool)
    with pytest.raises(UnknownNameError, match="grappa"):
        estimate_sensitivities(kspace, mask, method="grappa")
    with pytest.raises(ShapeError, match="mask"):
        estimate_sensitivities(kspace, mask[:, :30])
    with pytest.raises(ShapeError, match="mask"):
        estimate_sensitivities(kspace, mask.expand(3, 32, 32))
    for method in ("espirit", "walsh"):
        with pytest.raises(DataError, match="not all zero"):
            estimate_sensitivities(kspace * 0, mask, method=method)
        with pytest.raises(DataError, match="finite"):
            estimate_sensitivities(kspace * torch.nan, mask, method=method)
    single = estimate_sensitivities(kspace[:, :1], mask)
    assert torch.equal(single, torch.ones(1, 32, 32, dtype=torch.complex64))
