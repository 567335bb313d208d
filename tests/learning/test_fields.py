"""Drawn fields: the two parts of a tensor's field, noise, mirrors; and the inversion that a network makes."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from fastqmri.core import AcquisitionError, Flag
from fastqmri.estimators.susceptibility import Inversion
from fastqmri.learning.dipole_inversion import LearnedInversion
from fastqmri.learning.fields import RADIANS_PER_PPM, FieldPool, FieldRanges
from fastqmri.learning.inversion_results import fields_of
from fastqmri.learning.networks.dipole import UnrolledDipole
from fastqmri.phantoms import susceptibility_ellipsoids, susceptibility_head
from fastqmri.phantoms.anisotropy import TENSOR_MAPS, parts_of_field
from fastqmri.physics.encoding import COMPONENTS, SusceptibilityTensor

SMALL = FieldRanges(side=24, isotropic=0.0, calcification=0.0, heads=0.0)
TILTED = (0.2, -0.1, 1.0)


def test_rest_is_the_field_of_the_components_across_b0() -> None:
    generator = torch.Generator().manual_seed(2)
    phantom = susceptibility_ellipsoids((20, 22, 18), generator=generator, bundles=4)
    parts = parts_of_field(phantom, TILTED)
    b = torch.tensor(TILTED, dtype=torch.float64) / math.sqrt(1.05)
    chi = torch.zeros(3, 3, *phantom.voxels, dtype=torch.float64)
    for name, (a, c) in zip(TENSOR_MAPS, COMPONENTS, strict=True):
        chi[a, c] = chi[c, a] = phantom.maps[name] * phantom.mask
    # in axes of which the third is B0, the rest is that of components 13 and 23 alone
    across = torch.eye(3, dtype=torch.float64) - b[:, None] * b
    turned = torch.einsum("ab,bcxyz,cd->adxyz", across, chi, b[:, None] * b)
    off = turned + turned.transpose(0, 1)
    six = torch.stack([off[a, c] for a, c in COMPONENTS])
    operator = SusceptibilityTensor(
        phantom.voxels, phantom.voxel_size, TILTED, padding=2.0, dtype=torch.float64
    )
    # the two differ by what an even side's highest frequency can't tell
    assert float((operator(six) - parts.rest).norm() / parts.rest.norm()) < 0.02
    assert torch.allclose(parts.chi33, torch.einsum("a,b,abxyz->xyz", b, b, chi), atol=1e-12)


def test_fibres_of_a_head_are_in_its_white_matter() -> None:
    head = susceptibility_head((24, 24, 24), generator=torch.Generator().manual_seed(1), bundles=6)
    off = torch.stack([head.maps[name] for name in ("chi12", "chi13", "chi23")]).abs().amax(0) > 0
    assert bool(off.any())
    assert bool((head.labels[off] == head.names.index("white matter")).all())
    plain = susceptibility_head((24, 24, 24), generator=torch.Generator().manual_seed(1))
    assert torch.equal(head.maps["chi"], plain.maps["chi"])


def test_folds_share_the_body() -> None:
    generator = torch.Generator().manual_seed(5)
    phantom = susceptibility_ellipsoids(
        (24, 24, 24), generator=generator, count=(0, 0), veins=(0, 0), texture=0.0, folds=3
    )
    assert phantom.names == ("outside", "body", "fold-1", "fold-2", "fold-3")
    counts = torch.bincount(phantom.labels[phantom.mask].long(), minlength=5)[2:]
    assert int(counts.min()) > 0.3 * int(phantom.mask.sum())


def test_pool_holds_what_the_physics_says_however_it_is_turned() -> None:
    pool = FieldPool(range(7, 11), SMALL)
    generator = torch.Generator().manual_seed(3)
    seen = set()
    for _ in range(6):
        batch = pool.draw(generator, 2)
        given = batch.given
        seen.add(float(batch.chi33.sum()))
        left = (given.dipoles(batch.chi33) + batch.rest - given.field) * given.mask
        # known noise in the odd seeds; found in the field, and then too high, in the even ones
        size = (left / given.deviation.clamp_min(1e-9)).square().sum((1, 2, 3)) / given.mask.sum((1, 2, 3))
        assert bool((size < 1.5).all()), size
        assert bool((size > 0.01).all()), size
    again = FieldPool(range(7, 11), SMALL)
    first, second = (one.draw(torch.Generator().manual_seed(1), 3) for one in (pool, again))
    assert torch.equal(first.given.start, second.given.start)
    assert torch.equal(first.rest, second.rest)


def _learned(**settings: float) -> Inversion:
    torch.manual_seed(0)
    network = UnrolledDipole(width=4, blocks=1)
    method = LearnedInversion(network, lambda local: (), 0.5, **settings)  # type: ignore[arg-type]
    return Inversion("learned", "", (), method)


def test_inversion_with_b0_along_another_axis_is_the_same_turned() -> None:
    drawn = fields_of(12, SMALL)
    straight = drawn.invert(_learned(), noise=drawn.noise)
    turned = _learned().invert(
        drawn.field.transpose(0, 2),
        drawn.phantom.mask.transpose(0, 2),
        voxel_size=drawn.voxel_size[::-1],
        b0_direction=drawn.direction[::-1],
        weight=drawn.weight.transpose(0, 2),
        radians_per_ppm=RADIANS_PER_PPM,
        noise=drawn.noise,
    )
    assert turned.rest is not None
    assert straight.rest is not None
    assert torch.allclose(turned.value.transpose(0, 2), straight.value, atol=1e-5)
    assert torch.allclose(turned.rest.transpose(0, 2), straight.rest, atol=1e-5)
    assert torch.allclose(turned.standard_deviation.mean(), straight.standard_deviation.mean(), rtol=0.2)


def test_flags_of_misfit_and_of_tissue_never_seen() -> None:
    drawn = fields_of(13, SMALL)
    mask = drawn.phantom.mask
    good = drawn.invert(_learned(), noise=drawn.noise)
    assert good.flags is not None
    assert not bool((good.flags[~mask]).any())
    misfit, unseen = int(Flag.MODEL_MISFIT), int(Flag.OUTSIDE_TRAINING_RANGE)
    assert float((good.flags[mask] & unseen > 0).float().mean()) < 0.01
    # told a tenth of the noise, what is left of the field is more than noise
    doubted = drawn.invert(_learned(), noise=drawn.noise / 10)
    assert doubted.flags is not None
    assert int((doubted.flags & misfit).sum()) > int((good.flags & misfit).sum())
    strong = dataclasses.replace(drawn, field=10 * drawn.field).invert(_learned())
    assert strong.flags is not None
    assert bool((strong.flags & unseen).any())


def test_finishing_comes_nearer_to_the_field() -> None:
    drawn = fields_of(14, SMALL)

    def missed(finishing: int) -> float:
        from fastqmri.physics.encoding import Dipole

        got = drawn.invert(_learned(finishing=finishing, pull=1e-3), noise=drawn.noise)
        assert got.rest is not None
        operator = Dipole(drawn.phantom.voxels, drawn.voxel_size, drawn.direction, padding=2.0)
        left = (operator(got.value) + got.rest - drawn.field)[drawn.phantom.mask]
        return float((left - left.mean()).norm())

    assert missed(5) < 0.95 * missed(0)


def test_several_orientations_are_refused() -> None:
    drawn = fields_of(13, SMALL)
    with pytest.raises(AcquisitionError):
        _learned().invert(
            torch.stack([drawn.field] * 2),
            drawn.phantom.mask,
            voxel_size=drawn.voxel_size,
            b0_direction=[drawn.direction] * 2,
        )
