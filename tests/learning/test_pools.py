"""Pools of phantoms: whose they are, and what turning, mirroring and texture leave alone."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from fastqmri.core import PlausibilityError, ShapeError, UnknownNameError
from fastqmri.learning.pools import PhantomPool
from fastqmri.phantoms import ELLIPSE_SEEDS, SPLITS, ellipses


def seeded(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pool(voxels=(32, 32), split="training", count=6, **options) -> PhantomPool:
    return PhantomPool.of(split, voxels, ellipses=count, generator=seeded(), **options)


@pytest.mark.parametrize("voxels", [(32, 32), (21, 26), (12, 12, 9)])
def test_same_seed_same_bytes_and_the_contract_holds(voxels):
    objects = pool(voxels)
    one, two, other = (objects.draw(5, seeded(s)) for s in (1, 1, 2))
    assert set(one.maps) == {"M0", "T1", "T2", "T2star", "B0", "B1"}
    assert one.mask.shape == (5, *voxels)
    for name, value in one.maps.items():
        assert value.shape == (5, *voxels)
        assert value.dtype == torch.float32
        assert torch.equal(value, two.maps[name])
        assert bool(torch.isfinite(value).all())
        if name not in ("B0", "B1"):
            assert not bool(value[~one.mask].any())
            assert bool((value[one.mask] > 0).all())
    assert not torch.equal(one.maps["T1"], other.maps["T1"])
    assert torch.equal(objects.stored, pool(voxels).stored)


def test_without_texture_and_variation_an_object_comes_back_turned_or_mirrored():
    objects = pool(count=1, texture=0.0, variation=0.0)
    drawn = objects.draw(60, seeded())
    original = objects.stored[0, objects.names.index("T1")]
    copies = [flipped.rot90(k) for flipped in (original, original.flip(0)) for k in range(4)]
    seen = set()
    for i, value in enumerate(drawn.maps["T1"]):
        found = [k for k, copy in enumerate(copies) if torch.equal(value, copy)]
        assert found
        # what lies on the object turns with it
        (other,) = {objects.names.index("B0")}
        field = objects.stored[0, other]
        fields = [f.rot90(k) for f in (field, field.flip(0)) for k in range(4)]
        assert torch.equal(drawn.maps["B0"][i], fields[found[0]])
        assert torch.equal(drawn.mask[i], value > 0)
        seen.add(found[0])
    assert len(seen) == 8


def test_unequal_sides_are_never_swapped():
    assert pool((21, 26)).draw(16, seeded()).mask.shape == (16, 21, 26)


def test_texture_and_variation_are_as_large_as_asked():
    objects = pool((48, 48), count=1, texture=0.04, variation=0.0)
    plain = dataclasses.replace(objects, texture=0.0)
    ratio = objects.draw(40, seeded()).maps["T1"].sum(0) / 40
    # the same draws of turns come first, so single objects can be compared
    one, other = objects.draw(1, seeded(5)), plain.draw(1, seeded(5))
    factor = (one.maps["T1"] / other.maps["T1"])[other.mask]
    assert float(factor.std()) == pytest.approx(0.04, rel=0.3)
    assert float((factor - 1).abs().max()) <= 0.12 + 1e-5
    assert bool(torch.isfinite(ratio).all())
    varied = dataclasses.replace(objects, texture=0.0, variation=0.2)
    level = varied.draw(200, seeded()).maps["T1"].amax((1, 2)) / float(
        plain.draw(1, seeded()).maps["T1"].max()
    )
    assert float((level - 1).abs().max()) <= 0.2 + 1e-5
    assert float(level.std()) == pytest.approx(0.2 / 3**0.5, rel=0.15)


def test_t2star_never_exceeds_t2_and_returns_where_nothing_is_changed():
    drawn = pool(texture=0.15, variation=0.3).draw(30, seeded())
    assert bool((drawn.maps["T2star"] <= drawn.maps["T2"]).all())
    objects = pool(count=1, texture=0.0, variation=0.0, supersampling=1)
    seed = int(torch.randint(1_000_000, 2**62, (1,), generator=seeded()))
    source = ellipses((32, 32), generator=seeded(seed), texture=0.0)
    assert torch.allclose(
        objects.draw(1, seeded()).maps["T2star"].sum().double(), source.maps["T2star"].sum(), rtol=1e-5
    )


def test_ellipses_come_from_the_seeds_of_their_part():
    tuning = pool(split="tuning", count=3, texture=0.0, supersampling=1)
    for i, seed in enumerate(ELLIPSE_SEEDS["tuning"][:3]):
        source = ellipses((32, 32), generator=seeded(seed), texture=0.0)
        assert torch.equal(tuning.stored[i, tuning.names.index("T1")], source.maps["T1"].float())
    parts = list(ELLIPSE_SEEDS.values())
    for part in parts:
        assert all(part is other or part[0] > other[-1] or part[-1] < other[0] for other in parts)
    with pytest.raises(PlausibilityError, match="100 of ellipses"):
        pool(split="tuning", count=101)


@pytest.mark.parametrize("split", list(SPLITS))
def test_no_pool_holds_a_subject_of_another_part(split):
    for other, subjects in SPLITS.items():
        if other == split:
            continue
        with pytest.raises(PlausibilityError, match="belongs to"):
            PhantomPool.of(split, (32, 32), brains=1, generator=seeded(), subjects=subjects)
        planted = dataclasses.replace(pool(split=split), subjects=(SPLITS[split][0],))
        with pytest.raises(PlausibilityError, match="belongs to"):
            dataclasses.replace(planted, subjects=(*planted.subjects, subjects[0]))


def test_pools_that_cannot_be_are_refused():
    with pytest.raises(UnknownNameError, match="part"):
        pool(split="validation")
    with pytest.raises(PlausibilityError, match="at least one"):
        pool(count=0)
    with pytest.raises(UnknownNameError, match="map"):
        pool(names=("T1", "F"))
    with pytest.raises(ShapeError):
        dataclasses.replace(pool(), names=("T1",))


def test_brains_are_slices_of_the_subjects_of_the_part(test_data):
    folder = test_data("brainweb_3d_tissue_s4_s5_s6").parent
    done = []
    brains = PhantomPool.of(
        "tuning",
        (40, 40),
        brains=3,
        ellipses=1,
        generator=seeded(),
        data=folder,
        progress=lambda i, n: done.append((i, n)),
    )
    assert brains.subjects == ("brainweb-05",) * 3
    assert done == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert len(brains) == 4
    share = brains.mask.float().mean((1, 2))
    assert float(share.min()) > 0.1
    assert float(share.max()) < 0.9
    assert len({float(s) for s in share}) == 4


def test_ellipses_join_what_is_of_the_same_part_only():
    one, two = (pool((16, 16), "tuning", count) for count in (2, 3))
    both = dataclasses.replace(one, variation=0.2).joined(two)
    assert len(both) == 5
    assert both.variation == 0.2
    assert torch.equal(both.stored[2:], two.stored)
    with pytest.raises(ShapeError, match="joined"):
        one.joined(pool((16, 16), "training", 1))
