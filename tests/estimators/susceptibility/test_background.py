"""Background removal against spheres whose fields are known in closed form."""

from __future__ import annotations

import pytest
import torch

from estimators.susceptibility.spheres import AIR, Sphere, error, field_of, head, places
from fastqmri.core import DataError
from fastqmri.estimators.susceptibility.background import BACKGROUND_REMOVALS, VaryingSphericalMeans

NAMES = [name for name in BACKGROUND_REMOVALS if name != "none"]
TILTED = (0.0, 0.5, 0.75**0.5)


@pytest.mark.parametrize("name", NAMES)
def test_a_field_of_sources_outside_goes(name):
    """Nothing but background, seen along a tilted direction; what is left is a small part of it."""
    one = head(direction=TILTED)
    result = BACKGROUND_REMOVALS[name]().remove(
        one.background, one.mask, voxel_size=one.voxel_size, b0_direction=one.b0_direction
    )
    left, was = result.field[result.mask], one.background[result.mask]
    assert float(left.square().mean().sqrt()) < 0.03 * float((was - was.mean()).square().mean().sqrt())


@pytest.mark.parametrize("name", NAMES)
def test_local_field_beside_air(name, generator):
    """Errors inside what each method keeps, with noise."""
    one = head()
    noise = 0.001 * torch.randn(one.local.shape, generator=generator, dtype=torch.float64)
    result = BACKGROUND_REMOVALS[name]().remove(
        one.local + one.background + noise, one.mask, voxel_size=one.voxel_size, b0_direction=one.b0_direction
    )
    assert bool((result.field[~result.mask] == 0).all())
    assert not bool((result.mask & ~one.mask).any())
    assert int(result.mask.sum()) > 0.5 * int(one.mask.sum())
    left = error(result.field, one.local, result.mask)
    assert left < 45  # the range of the public leaderboard, whose head is harder
    # the planted fault: without removal the same measure is far beyond
    assert error(one.local + one.background, one.local, one.mask) > 500


def test_what_is_lost_is_the_rim():
    one = head()
    for name, width in (("resharp", 6.0), ("v-sharp", 2.0)):
        kept = BACKGROUND_REMOVALS[name]().remove(one.local, one.mask, voxel_size=one.voxel_size).mask
        near = places(one.mask.shape, one.voxel_size)
        lost = (one.mask & ~kept).nonzero()
        # the nearest voxel outside touches the mask with a face
        touches = torch.stack([one.mask.roll(s, axis) for axis in range(3) for s in (1, -1)]).any(0)
        outside = (~one.mask & touches).nonzero()
        middles = near[:, outside[:, 0], outside[:, 1], outside[:, 2]].T
        ours = near[:, lost[:, 0], lost[:, 1], lost[:, 2]].T[::37]
        assert float(torch.cdist(ours, middles).amin(1).max()) <= width + 1e-9
        kept_places = near[:, kept][:, ::37].T
        assert float(torch.cdist(kept_places, middles).amin()) > width


def test_mean_over_a_sphere_is_the_middle():
    """The theorem that three of the methods stand on, for a field of a source outside."""
    where = places((31, 31, 31), (1, 1, 1))
    field = field_of(Sphere((0, 30, 9), 5, AIR), where, (0, 0, 1))
    sphere = (where**2).sum(0) <= 12**2
    assert float(field[sphere].mean()) == pytest.approx(float(field[15, 15, 15]), rel=0.01)


def test_nothing_left_is_an_error():
    mask = torch.zeros(12, 12, 12, dtype=torch.bool)
    mask[5:7, 5:7, 5:7] = True
    field = torch.ones(12, 12, 12)
    for name in ("v-sharp", "resharp", "lbv"):
        removal = VaryingSphericalMeans((4.0,)) if name == "v-sharp" else BACKGROUND_REMOVALS[name]()
        with pytest.raises(DataError, match="no voxel is left"):
            removal.remove(field, mask, voxel_size=(1, 1, 1))
