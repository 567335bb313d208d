"""Sampling patterns: distances by brute force, densities, numbers."""

from __future__ import annotations

import itertools

import pytest
import torch

from fastqmri.core import PlausibilityError
from fastqmri.physics.encoding import poisson_disc, regular_lines


def _nearest(mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Points, and all their distances, with their distance from the middle relative to the rim."""
    points = mask.nonzero().double()
    middle = torch.tensor([side // 2 for side in mask.shape], dtype=torch.float64)
    half = torch.tensor([side / 2 for side in mask.shape], dtype=torch.float64)
    away = ((points - middle) / half).norm(dim=1)
    apart = torch.cdist(points, points)
    return apart.fill_diagonal_(torch.inf), away, points


@pytest.mark.parametrize("acceleration", [3.0, 8.0])
def test_poisson_discs_keep_their_distances(generator: torch.Generator, acceleration: float) -> None:
    slope, side = 2.0, 8
    masks = poisson_disc((61, 90), 2, acceleration, generator=generator, centre=side, slope=slope)
    assert not torch.equal(masks[0], masks[1])
    for mask in masks:
        assert int(mask.sum()) == round(61 * 90 / acceleration)
        box = mask[26:34, 41:49]
        assert bool(box.all())
        rest = mask.clone()
        rest[26:34, 41:49] = False
        outside = torch.ones_like(mask)
        outside[26:34, 41:49] = False
        apart, away, _ = _nearest(rest)
        growth = 1 + slope * away
        wanted = torch.maximum(growth[:, None], growth[None])
        smallest = (apart / wanted).min()
        # random sequential discs cover 54.7 % of the plane, which gives r0 for this many; the grid costs some of it
        at = [(torch.arange(n) - n // 2) / (n / 2) for n in mask.shape]
        plane = 1 + slope * (at[0][:, None] ** 2 + at[1][None] ** 2).sqrt()
        r0 = (4 * 0.547 / torch.pi * float((plane**-2)[~mask.new_zeros(())].sum()) / int(rest.sum())) ** 0.5
        assert float(smallest) > 0.8 * r0
        # the same check on as many random points finds neighbours
        random = torch.zeros(61 * 90, dtype=torch.bool)
        random[torch.randperm(61 * 90, generator=generator)[: int(rest.sum())]] = True
        near, far, _ = _nearest(random.view(61, 90))
        growth = 1 + slope * far
        assert float((near / torch.maximum(growth[:, None], growth[None])).min()) < 0.6 * float(smallest)


def test_density_falls_off(generator: torch.Generator) -> None:
    mask = poisson_disc((120, 120), 8, 6, generator=generator, centre=4).double().mean(0)
    at = (torch.arange(120) - 60).double() / 60
    away = (at[:, None] ** 2 + at[None] ** 2).sqrt()
    rings = [float(mask[(away >= low) & (away < low + 0.2)].mean()) for low in (0.2, 0.4, 0.6, 0.8, 1.0)]
    assert all(inner > outer for inner, outer in itertools.pairwise(rings))
    # discs of radius 1 + 2 |k|: density goes with the inverse square
    assert rings[0] / rings[3] == pytest.approx((2.8 / 1.6) ** 2, rel=0.25)
    even = poisson_disc((120, 120), 8, 6, generator=generator, centre=4, slope=0).double().mean(0)
    assert float(even[(away > 0.8) & (away < 1)].mean()) == pytest.approx(1 / 6, rel=0.05)


def test_the_same_generator_draws_the_same_discs() -> None:
    one, other = (poisson_disc((40, 30), 2, 4, generator=torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(one, other)


def test_regular_lines() -> None:
    masks = regular_lines(32, 3, 4, centre=5, shifted=True)
    assert masks.shape == (3, 32)
    for contrast, mask in enumerate(masks):
        by_hand = [(line - 16 - contrast) % 4 == 0 or 14 <= line < 19 for line in range(32)]
        assert mask.tolist() == by_hand
    assert torch.equal(*regular_lines(32, 2, 4, centre=5))


@pytest.mark.parametrize(
    ("acceleration", "centre", "slope"), [(0.5, 4, 2), (0, 4, 2), (10, 30, 2), (4, 4, -1)]
)
def test_impossible_discs(acceleration: float, centre: int, slope: float) -> None:
    with pytest.raises(PlausibilityError, match="acceleration"):
        poisson_disc((40, 40), 1, acceleration, generator=torch.Generator(), centre=centre, slope=slope)


@pytest.mark.parametrize(("acceleration", "centre"), [(0, 4), (40, 4), (2, 40), (2, -1)])
def test_impossible_regular_lines(acceleration: int, centre: int) -> None:
    with pytest.raises(PlausibilityError, match="of 32 lines"):
        regular_lines(32, 1, acceleration, centre=centre)
