"""Trajectories against their defining properties, and density weights against exact areas and identities."""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from fastqmri.core import DataError, PlausibilityError, ShapeError
from fastqmri.core.units import GYROMAGNETIC_RATIO
from fastqmri.physics.encoding import (
    Identity,
    LinearOperator,
    NonUniformFourier,
    Sensitivities,
    fixed_point_density,
    golden_radial,
    golden_radial_3d,
    radial_density,
    spiral,
    stack_of_stars,
    voronoi_density,
)

SIDE = 48


def ellipses(side: int) -> Tensor:
    """A smooth-edged object off the middle."""
    x, y = torch.meshgrid(*[(torch.arange(side) - side // 2) / side] * 2, indexing="ij")
    disc = torch.sigmoid(60 * (0.35 - ((x - 0.02) ** 2 + (y / 0.8) ** 2).sqrt()))
    return (disc - 0.5 * torch.sigmoid(60 * (0.12 - ((x + 0.1) ** 2 + y**2).sqrt()))).to(torch.complex128)


def returned(trajectory: Tensor, weights: Tensor, side: int = SIDE) -> float:
    """Relative error of F^H W F as an identity."""
    operator, x = NonUniformFourier(trajectory, (side, side)), ellipses(side)
    return float((operator.adjoint(weights * operator(x)) - x).norm() / x.norm())


def angles(spokes: Tensor) -> Tensor:
    along = spokes[:, -1] - spokes[:, 0]
    return torch.rad2deg(torch.atan2(along[:, 1], along[:, 0]))


def test_golden_angles_are_the_published_ones():
    for tiny, degrees in ((1, 111.246), (2, 68.754), (7, 23.628)):
        found = angles(golden_radial(2, 8, tiny=tiny))
        assert abs(float(found[1] - found[0]) - degrees) < 1e-3
    assert torch.equal(golden_radial(6, 8)[4:], golden_radial(2, 8, first=4))
    spokes = golden_radial(5, 9)
    assert spokes.shape == (5, 9, 2)
    assert float(spokes[:, 4].abs().max()) == 0


def test_a_fibonacci_number_of_spokes_is_nearly_even():
    """Of 34 spokes no gap is more than the golden ratio squared of another."""
    sorted_angles = (angles(golden_radial(34, 8)) % 180).sort().values
    gaps = torch.cat([sorted_angles.diff(), sorted_angles[:1] + 180 - sorted_angles[-1:]])
    assert float(gaps.max() / gaps.min()) < 2.62


def test_a_stack_has_the_same_stars_at_even_heights():
    stack = stack_of_stars(3, 8, 6)
    assert stack.shape == (6, 3, 8, 3)
    assert torch.equal(stack[4, ..., :2], golden_radial(3, 8))
    assert torch.allclose(stack[:, 0, 0, 2], torch.arange(-3, 3, dtype=torch.float64) * math.pi / 3)


def test_golden_means_cover_the_sphere_evenly():
    """Second moments of the directions are those of the sphere; the published means are 0.4656 and 0.6823."""
    spokes = golden_radial_3d(987, 2)
    direction = spokes[:, 0] / spokes[:, 0].norm(dim=-1, keepdim=True)
    moments = direction.T @ direction / len(direction)
    assert float((moments - torch.eye(3) / 3).abs().max()) < 0.005
    second = golden_radial_3d(2, 2)[1, 0]
    assert abs(abs(float(second[2])) / float(second.norm()) - 0.4656) < 1e-4
    assert abs((math.atan2(-second[1], -second[0]) / (2 * math.pi)) % 1 - 0.6823) < 1e-4


@pytest.mark.parametrize("edge_density", [1.0, 0.5])
@pytest.mark.parametrize(("gradient", "slew"), [(0.04, 150.0), (0.01, 150.0), (0.04, 30.0)])
def test_a_spiral_keeps_the_limits_of_the_gradients(edge_density: float, gradient: float, slew: float):
    dwell, field_of_view, side, interleaves = 4e-6, 0.22, 96, 12
    places = spiral(
        interleaves,
        side,
        field_of_view=field_of_view,
        dwell=dwell,
        gradient=gradient,
        slew=slew,
        edge_density=edge_density,
    )
    metres = places / (2 * math.pi) * side / field_of_view  # cycles per m
    g = metres.diff(dim=1) / dwell / GYROMAGNETIC_RATIO
    amplitude, rate = g.norm(dim=-1), (g.diff(dim=1) / dwell).norm(dim=-1)
    assert float(amplitude.max()) <= 1.001 * gradient
    assert float(rate.max()) <= 1.01 * slew
    # time-optimal: one of them is used up nearly always
    busy = (amplitude[:, 1:] > 0.98 * gradient) | (rate > 0.98 * slew)
    assert float(busy.double().mean()) > 0.97
    assert math.pi * 0.97 < float(places.norm(dim=-1).max()) <= math.pi
    # turns of all interleaves lie 1 / field of view apart in the middle, and further at the edge
    radius = places[0].norm(dim=-1).numpy()
    turned = np.unwrap(torch.atan2(places[0, 1:, 1], places[0, 1:, 0]).numpy()) / (2 * math.pi)
    pitch = np.gradient(radius[1:], turned) * side / interleaves / (2 * math.pi)
    # the first turn is not circular yet
    assert abs(pitch[10] / (1 / (1 - (1 - edge_density) * radius[11] / math.pi)) - 1) < 0.02
    assert abs(pitch[-5] * edge_density - 1) < 0.05


def test_impossible_spirals_are_refused():
    limits = {"field_of_view": 0.2, "dwell": 4e-6, "gradient": 0.04, "slew": 150.0}
    for wrong in ({"gradient": -1.0}, {"dwell": 4e-3}, {"edge_density": 1.5}):
        with pytest.raises(PlausibilityError, match="spiral"):
            spiral(8, 32, **{**limits, **wrong})


def grid(side: int) -> Tensor:
    line = 2 * math.pi * (torch.arange(side, dtype=torch.float64) - side // 2) / side
    return torch.cartesian_prod(line, line)


@pytest.mark.parametrize("density", [fixed_point_density, voronoi_density])
@pytest.mark.parametrize("side", [12, 13])
def test_a_cartesian_scan_has_weight_one(density: Callable[..., Tensor], side: int):
    assert float((density(grid(side), (side, side)) - 1).abs().max()) < 1e-4


def test_radial_weights_are_the_areas_of_their_rings():
    """They fill the disc to half a sample beyond the last, in two and three dimensions."""
    spokes = golden_radial(89, 33)
    radius = 16.5 * 2 * math.pi / 33
    wanted = math.pi * radius**2 / (2 * math.pi) ** 2 * 12**2
    assert abs(float(radial_density(spokes, (12, 12)).sum()) / wanted - 1) < 1e-9
    ball = 4 / 3 * math.pi * radius**3 / (2 * math.pi) ** 3 * 12**3
    assert abs(float(radial_density(golden_radial_3d(89, 33), (12, 12, 12)).sum()) / ball - 1) < 1e-9


def test_voronoi_cells_of_a_radial_scan_have_the_areas_of_rings():
    """Straight edges instead of arcs, so nearly; the middle, which all spokes share, exactly."""
    spokes = golden_radial(89, 32)
    rings = radial_density(spokes, (SIDE, SIDE))
    cells = voronoi_density(spokes.flatten(0, 1), (SIDE, SIDE)).view_as(rings)
    inside = slice(3, -3)
    assert float((cells[:, inside].sum(0) / rings[:, inside].sum(0) - 1).abs().max()) < 0.03
    assert abs(float(cells.sum() / rings.sum()) - 1) < 0.05


@pytest.mark.parametrize("scan", ["radial", "spiral", "variable spiral"])
def test_weights_make_the_adjoint_an_inverse(scan: str):
    if scan == "radial":
        trajectory = golden_radial(110, 96).flatten(0, 1)
    else:
        trajectory = spiral(
            24,
            SIDE,
            field_of_view=0.2,
            dwell=4e-6,
            gradient=0.04,
            slew=150.0,
            edge_density=1.0 if scan == "spiral" else 0.8,
        ).flatten(0, 1)
    assert returned(trajectory, fixed_point_density(trajectory, (SIDE, SIDE))) < 0.03
    assert returned(trajectory, voronoi_density(trajectory, (SIDE, SIDE))) < 0.06
    # without weights the middle of k-space drowns everything
    assert returned(trajectory, torch.ones(len(trajectory), dtype=torch.float64)) > 1
    if scan == "radial":
        assert returned(trajectory, radial_density(golden_radial(110, 96), (SIDE, SIDE)).flatten()) < 0.06


def test_weights_of_a_volume(generator: torch.Generator):
    spokes = golden_radial_3d(500, 20)
    trajectory, voxels = spokes.flatten(0, 1), (9, 10, 8)
    axes = [torch.exp(-(((torch.arange(n) - n // 2) / (n / 7)) ** 2) / 2) for n in voxels]
    x = torch.einsum("i,j,k->ijk", *axes).to(torch.complex128)
    operator = NonUniformFourier(trajectory, voxels)
    for weights in (
        fixed_point_density(trajectory, voxels),
        radial_density(spokes, voxels).flatten(),
        voronoi_density(trajectory[:5000], voxels),
    ):
        own = NonUniformFourier(trajectory[: len(weights)], voxels)
        error = (own.adjoint(weights * own(x)) - x).norm() / x.norm()
        assert float(error) < 0.12
    assert operator.domain == voxels


def test_every_contrast_has_its_weights():
    trajectory = golden_radial(68, 96).unflatten(0, (2, 34)).flatten(1, 2)
    for density in (fixed_point_density, voronoi_density):
        together = density(trajectory, (SIDE, SIDE))
        assert together.shape == trajectory.shape[:-1]
        assert torch.allclose(together[1], density(trajectory[1], (SIDE, SIDE)), rtol=1e-5)


def test_zero_filled_weighs_samples_off_the_grid(generator: torch.Generator):
    maps = torch.randn(3, SIDE, SIDE, dtype=torch.complex128, generator=generator)
    maps = maps / maps.abs().square().sum(0).sqrt()
    trajectory = golden_radial(220, 96).unflatten(0, (2, 110)).flatten(1, 2)
    fourier = NonUniformFourier(trajectory, (SIDE, SIDE))
    # smooth coil maps would do less harm; these random ones need all of k-space, so none here
    encoding: LinearOperator = fourier @ Sensitivities(torch.ones(1, SIDE, SIDE, dtype=torch.complex128), 2)
    x = ellipses(SIDE).expand(2, -1, -1)
    error = (encoding.zero_filled(encoding(x)) - x).norm() / x.norm()
    assert float(error) < 0.03
    assert torch.equal(Identity().zero_filled(x), x)


def test_what_weights_need_is_said(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ShapeError, match="spokes of"):
        radial_density(golden_radial(4, 8).flatten(0, 1), (8, 8))
    with pytest.raises(DataError, match="no end"):
        voronoi_density(golden_radial(1, 8).flatten(0, 1) + torch.tensor([0.1, 0.2]), (8, 8))
    original = builtins.__import__

    def without_scipy(name: str, *rest: object, **more: object) -> object:
        if name.startswith("scipy"):
            raise ImportError(name)
        return original(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without_scipy)
    with pytest.raises(DataError, match=r"fastqmri\[voronoi\]"):
        voronoi_density(golden_radial(4, 8).flatten(0, 1), (8, 8))


def test_the_spiral_of_a_fingerprinting_scan(test_data: Callable[[str], Path]):
    """48 turned spirals in cycles per voxel, with weights that another program found for a matrix of 256."""
    with np.load(test_data("mrf_nist_phantom_maps_and_schedule") / "spiral_traj.npz") as file:
        places, theirs = torch.tensor(file["traj"]), torch.tensor(file["dcf"])
    trajectory = 2 * math.pi * places.permute(1, 0, 2).double()  # (interleaf, readout, 2)
    radius = trajectory.norm(dim=-1)
    assert float((radius - radius[:1]).abs().max()) < 1e-5  # turned copies of one spiral
    ours = voronoi_density(trajectory.flatten(0, 1), (256, 256)).unflatten(0, (48, 1092))
    theirs = theirs.unflatten(0, (48, 1092)).double()
    assert (
        float((ours / theirs - 1)[:, :1050].abs().median()) < 1e-3
    )  # cells at the rim are a matter of choice
    assert float((ours - theirs)[:, :1050].abs().mean()) < 0.01
    pipe = fixed_point_density(trajectory.flatten(0, 1), (256, 256))
    operator = NonUniformFourier(trajectory.flatten(0, 1), (256, 256))
    x = ellipses(256)
    assert float((operator.adjoint(pipe * operator(x)) - x).norm() / x.norm()) < 0.03
