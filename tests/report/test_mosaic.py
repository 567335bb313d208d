"""Slices are chosen, turned and laid out as a radiologist expects, whatever the storage order."""

from __future__ import annotations

import itertools

import nibabel
import numpy as np
import pytest
import torch

from fastqmri.report.mosaic import MOST_PIXELS, MOST_SLICES, plan, tiled

SHAPE = (7, 6, 5)


def oriented(axes: tuple[int, ...], signs: tuple[int, ...], sizes=(2.0, 2.0, 2.0)):
    """A volume stored with its axes permuted and flipped, and its affine; values count canonical voxels."""
    volume = np.arange(np.prod(SHAPE), dtype=float).reshape(SHAPE)
    canonical = nibabel.Nifti1Image(volume, np.diag([*sizes, 1.0]))
    wanted = np.array([[axes[i], signs[i]] for i in range(3)], dtype=float)
    stored = canonical.as_reoriented(wanted)
    return volume, np.asarray(stored.dataobj), torch.tensor(stored.affine)


@pytest.mark.parametrize("axes", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("signs", list(itertools.product((1, -1), repeat=3)))
def test_axial_display_is_radiological(axes, signs):
    canonical, stored, affine = oriented(axes, signs)
    # A shift, so that no storage order looks like one without any header.
    affine[:3, 3] += torch.tensor([3.0, -20.0, 11.0])
    mosaic = plan(np.ones(stored.shape, bool), affine)
    assert mosaic.view.plane == "axial"
    stack = mosaic.view.stack(stored)
    # Patient right at the left edge and anterior at the top: both canonical axes run backwards.
    expected = canonical.transpose(2, 1, 0)[:, ::-1, ::-1]
    if np.array_equal(stack, expected):
        return
    assert np.array_equal(stack[::-1], expected), "only the order of the slices may follow the storage"


def test_thick_slices_are_shown_as_acquired():
    _, stored, affine = oriented((0, 1, 2), (1, 1, 1), sizes=(1.5, 6.0, 1.5))
    mosaic = plan(np.ones(stored.shape, bool), affine)
    assert mosaic.view.plane == "coronal"
    assert mosaic.view.edges == ("right", "superior")
    assert mosaic.depth == SHAPE[1]


def test_single_slice_is_shown_whatever_its_direction():
    affine = torch.diag(torch.tensor([-1.0, 2.0, 3.0, 1.0]))
    mosaic = plan(np.ones((1, 8, 9), bool), affine)
    assert mosaic.view.plane == "sagittal"
    assert mosaic.view.edges == ("anterior", "superior")
    assert mosaic.view.aspect == pytest.approx(1.5)
    assert mosaic.arrange(np.zeros((1, 8, 9)), np.nan).shape == (9, 8)


def test_oblique_affine_picks_the_closest_axes():
    angle = np.deg2rad(20)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine = torch.tensor(turn @ np.diag([2.0, 2.0, 5.0, 1.0]))
    assert plan(np.ones(SHAPE, bool), affine).view.order == (0, 1, 2)


@pytest.mark.parametrize("affine", [None, torch.eye(4), torch.full((4, 4), torch.nan), torch.zeros(4, 4)])
def test_unknown_orientation_shows_the_array(affine):
    volume = np.arange(12.0).reshape(3, 4)
    mosaic = plan(np.ones((3, 4), bool), affine)
    np.testing.assert_array_equal(mosaic.arrange(volume, np.nan), volume)
    assert "unknown" in mosaic.description


@pytest.mark.parametrize("shape", [(), (1,), (5,), (1, 1, 1), (4, 3), (3, 4, 30), (3, 4, 2, 2)])
def test_every_shape_can_be_shown(shape):
    mosaic = plan(np.ones(shape, bool), None)
    picture = mosaic.arrange(np.ones(shape), np.nan)
    assert np.nansum(picture) == min(np.prod(shape), MOST_SLICES * np.prod(shape[:2]))
    assert len(mosaic.slices) <= MOST_SLICES


def test_slices_are_spread_over_the_mask():
    inside = np.zeros((8, 8, 60), bool)
    inside[2:6, 2:6, 20:50] = True
    mosaic = plan(inside, None)
    assert len(mosaic.slices) == MOST_SLICES
    assert 20 <= mosaic.slices[0] < 24
    assert 46 < mosaic.slices[-1] < 50
    assert mosaic.rows == mosaic.columns == slice(0, 8)


def test_margins_are_cut():
    inside = np.zeros((40, 50), bool)
    inside[10:20, 30:45] = True
    mosaic = plan(inside, None)
    assert (mosaic.rows, mosaic.columns) == (slice(8, 22), slice(28, 47))


def test_empty_mask_shows_everything():
    assert plan(np.zeros((4, 5), bool), None).arrange(np.ones((4, 5)), np.nan).sum() == 20


@pytest.mark.parametrize("shape", [(512, 512, 40), (1400, 1300, 1), (96, 96, 60)])
def test_pictures_stay_small(shape):
    mosaic = plan(np.ones(shape, bool), None)
    picture = mosaic.arrange(np.zeros(shape, np.float32), 0.0)
    assert picture.size < 1.3 * MOST_PIXELS


def test_several_volumes_share_a_slice():
    volumes = [np.full((3, 4, 5), float(i)) for i in range(3)]
    picture = plan(np.ones((3, 4, 5), bool), None).arrange_many(volumes, np.nan)
    assert {float(v) for v in np.unique(picture[np.isfinite(picture)])} == {0.0, 1.0, 2.0}


def test_tiles_fill_rows_first():
    tiles = np.arange(3.0)[:, None, None] * np.ones((1, 1, 1))
    np.testing.assert_array_equal(tiled(tiles, 2, -1.0), [[0, -1, 1], [-1, -1, -1], [2, -1, -1]])
