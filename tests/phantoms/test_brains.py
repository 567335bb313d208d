"""Digital brains: drawn from real label maps, and from a small head made here whose shares can be counted."""

from __future__ import annotations

import functools
import itertools
import math

import pytest
import torch
from scipy import ndimage

from fastqmri.core import FileError, MultiEchoSpinEcho, PlausibilityError, UnknownNameError
from fastqmri.estimators import CATALOGUE
from fastqmri.phantoms import (
    SPLITS,
    SUBJECTS,
    Anatomy,
    acquire,
    brain,
    draw_motion,
    load_anatomy,
    move,
    split_of,
    tissue_properties,
    typical_acquisition,
)
from fastqmri.physics.signal import ExponentialDecay


def seeded(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@functools.cache
def head() -> Anatomy:
    """A ball of white matter of radius 30 mm in grey matter (40 mm) in fluid (45 mm), voxels of 1 mm."""
    axes = torch.meshgrid(*(torch.arange(101) - 50.0 for _ in range(3)), indexing="ij")
    radius = torch.stack(axes).norm(dim=0)
    labels = torch.where(radius < 30, 2, torch.where(radius < 40, 1, torch.where(radius < 45, 3, 0)))
    affine = torch.eye(4, dtype=torch.float64)
    affine[:3, 3] = -50
    names = ("outside", "grey matter", "white matter", "cerebrospinal fluid")
    return Anatomy("mni152", labels.to(torch.uint8), names, affine, ())


def test_subjects_belong_to_one_part_each():
    for one, two in itertools.combinations(SPLITS.values(), 2):
        assert not set(one) & set(two)
    assert all(SPLITS[part] for part in ("training", "tuning", "held-out"))
    assert sorted(SUBJECTS) == sorted(set(SUBJECTS))
    assert split_of("brainweb-06") == "held-out"
    with pytest.raises(UnknownNameError, match="brainweb-99"):
        split_of("brainweb-99")


@pytest.mark.parametrize("voxels", [(41, 36), (32, 29, 27)])
def test_same_seed_same_brain(voxels):
    one, two, other = (brain(head(), generator=seeded(s), voxels=voxels, lesions=2) for s in (1, 1, 2))
    assert all(torch.equal(one.maps[n], two.maps[n]) for n in one.maps)
    assert one.drawn == two.drawn
    assert one.drawn["lesions"] != other.drawn["lesions"]
    assert one.drawn["split"] == "training"


def test_tissues_keep_their_volumes_and_shares_add_up():
    """On voxels of 3.5 mm the shares add up to the volumes of the balls; whole voxels could not."""
    phantom = brain(head(), generator=seeded(), voxels=(32, 32, 32), field_of_view=112, texture=0.0)
    assert float(phantom.fractions.sum(0).max()) <= 1 + 1e-6
    volume = 3.5**3
    balls = [4 / 3 * math.pi * r**3 for r in (30, 40)]
    grey, white, _ = (phantom.fractions.double().sum((1, 2, 3)) * volume).tolist()
    assert white == pytest.approx(balls[0], rel=0.01)
    assert grey == pytest.approx(balls[1] - balls[0], rel=0.01)
    centre = tuple(side // 2 for side in phantom.voxels)
    assert phantom.names[int(phantom.labels[centre])] == "white matter"
    world = phantom.affine @ torch.tensor([*centre, 1.0], dtype=torch.float64)
    assert world[:3].abs().max() < 1e-9  # the middle voxel N//2 is the middle of the brain


def test_a_slice_is_a_plane_of_the_volume():
    options = {"field_of_view": 96.0, "texture": 0.0, "variation": 0.0, "sinus": 0.0}
    volume = brain(head(), generator=seeded(), voxels=(48, 48, 48), **options)
    plane = brain(head(), generator=seeded(), voxels=(48, 48), thickness=2.0, height=0.5, **options)
    assert torch.allclose(plane.maps["T1"], volume.maps["T1"][:, :, 24], atol=1e-6)
    assert torch.equal(plane.mask, volume.mask[:, :, 24])
    low = brain(head(), generator=seeded(), voxels=(48, 48), thickness=2.0, height=0.2, **options)
    assert int(low.mask.sum()) < int(plane.mask.sum())


def test_values_are_those_of_the_table_within_the_variation():
    phantom = brain(head(), generator=seeded(), texture=0.0, variation=0.04, supersampling=1)
    assert phantom.fractions is None
    for label, name in enumerate(phantom.names[1:], 1):
        for key, nominal in tissue_properties(name).items():
            value = float(phantom.maps[key][phantom.labels == label].mean())
            assert abs(value / nominal - 1) <= 0.04
            assert value == pytest.approx(phantom.drawn["values"][key][label - 1])
    exact = brain(head(), generator=seeded(), texture=0.0, variation=0.0, supersampling=1, height=0.5)
    assert float(exact.maps["T1"][48, 48]) == pytest.approx(0.832)  # white matter at 3 T, Wansapura 1999
    with pytest.raises(PlausibilityError, match="7 T"):
        brain(head(), generator=seeded(), field_strength=7.0)
    with pytest.raises(PlausibilityError, match="sides"):
        brain(head(), generator=seeded(), voxels=(9,))


def test_lesions_lie_in_white_matter():
    anatomy = head()
    options = {"voxels": (101, 101, 101), "field_of_view": 101.0, "texture": 0.0, "supersampling": 1}
    plain = brain(anatomy, generator=seeded(), **options)
    ill = brain(anatomy, generator=seeded(), lesions=6, **options)
    lesion = ill.labels == ill.names.index("lesion")
    assert int(lesion.sum()) > 6 * 25  # radii from 2 mm, 33 voxels
    assert (plain.labels[lesion] == plain.names.index("white matter")).all()
    assert len(ill.drawn["lesions"]) == 6


def test_off_resonance_of_a_sinus_obeys_laplace():
    """Fields of sources outside the brain are harmonic in it: the seven-point Laplacian vanishes."""
    phantom = brain(head(), generator=seeded(), voxels=(64, 64, 64), field_of_view=110.0, b0=(0.0, 0.0))
    field = phantom.maps["B0"]
    inner = (slice(1, -1),) * 3
    laplacian = sum(field.roll(s, a) for s in (1, -1) for a in range(3)) - 6 * field
    inside = phantom.mask[inner]
    curvature = (field.roll(1, 2) + field.roll(-1, 2) - 2 * field)[inner][inside]
    assert float(laplacian[inner][inside].abs().max()) < 0.03 * float(curvature.abs().max())
    here = field[phantom.mask]
    assert 50 < float(here.max()) < 300


def test_motion_by_whole_voxels_and_quarter_turns_is_exact(generator):
    image = torch.rand(1, 9, 9, dtype=torch.float64, generator=generator).repeat(3, 1, 1)
    image[:, 0], image[:, -1], image[:, :, 0], image[:, :, -1] = 0, 0, 0, 0
    poses = torch.tensor([[0, 0, 0], [0, 2.0, -3.0], [math.pi / 2, 0, 0]], dtype=torch.float64)
    moved = move(image, poses, (2.0, 3.0))
    assert torch.allclose(moved[0], image[0], atol=1e-12)
    assert torch.allclose(moved[1], image[1].roll((1, -1), (0, 1)), atol=1e-12)
    moved = move(image, poses, (2.0, 2.0))
    x, y = 6, 4  # right of the middle, on the first axis, turns to above it, on the second
    assert float(moved[2, 4, 6]) == pytest.approx(float(image[2, x, y]), abs=1e-12)
    volume = torch.rand(1, 7, 6, 5, dtype=torch.complex128, generator=generator)
    pose = torch.tensor([[0, 0, 0, 0, 1.5, 0]], dtype=torch.float64)
    shifted = move(volume, pose, (1.5,) * 3)
    assert torch.allclose(shifted[0, :, 1:], volume[0, :, :-1], atol=1e-12)
    assert not shifted[0, :, 0].any()


def test_motion_between_contrasts_leaves_the_first_where_it_was(generator):
    acquisition = MultiEchoSpinEcho(echo_time=(0.01, 0.03, 0.05))
    model = ExponentialDecay(acquisition)
    phantom = brain(head(), generator=seeded(), voxels=(40, 40), supersampling=1)
    poses = draw_motion(3, 2, rotation=0.1, translation=5.0, generator=generator)
    assert not poses[0].any()
    assert float(poses[:, 0].abs().max()) <= 0.1
    still, moved = (
        acquire(phantom, model, snr=math.inf, generator=seeded(), motion=m) for m in (None, poses)
    )
    assert torch.allclose(still.data[0], moved.data[0], atol=1e-6)
    assert not torch.allclose(still.data[1], moved.data[1], atol=0.05)
    assert float(moved.data[1].sum()) == pytest.approx(float(still.data[1].sum()), rel=0.02)


@pytest.mark.parametrize("name", ["vfa", "mpm", "qmt", "adc", "mtsat", "fingerprinting", "megre-complex"])
def test_models_find_their_parameters_in_a_brain(name):
    entry = CATALOGUE[name]
    model = entry.build(typical_acquisition(entry.acquisition, entry.name))
    phantom = brain(head(), generator=seeded(), voxels=(20, 17), thickness=8.0)
    data = acquire(phantom, model, snr=100, generator=seeded()).data
    assert torch.isfinite(data.abs()).all()
    assert float(data[0, phantom.mask].abs().mean()) > 3 * float(data[0, ~phantom.mask].abs().mean())


@pytest.mark.parametrize("subject", [s for s in SUBJECTS if s.startswith("brainweb")])
def test_real_anatomies_are_whole(subject, test_data):
    """Volumes in the range of living adults' (grey matter 500 to 1200 ml in BrainWeb's masks, fluid in ventricles)."""
    anatomy = load_anatomy(subject, test_data("brainweb_3d_tissue_s4_s5_s6").parent)
    count = {name: int((anatomy.labels == i).sum()) / 1000 for i, name in enumerate(anatomy.names)}
    assert 400 < count["white matter"] < 800
    assert 500 < count["grey matter"] < 1200
    assert 100 < count["cerebrospinal fluid"] < 700
    inside = anatomy.labels > 0
    filled = ndimage.binary_fill_holes(inside.numpy())
    assert filled.sum() - int(inside.sum()) < 1e-3 * filled.sum()
    assert ndimage.label(inside.numpy())[1] == 1  # in one piece
    # axes towards front and top: the cerebellum and the stem, at the bottom, lie behind the middle
    white = anatomy.labels == anatomy.names.index("white matter")
    half = inside.shape[2] // 2
    assert int(white[:, :, half:].sum()) > int(white[:, :, :half].sum())
    low = torch.nonzero(white[:, :, : half // 2])[:, 1].double().mean()
    assert float(low) < 0.45 * inside.shape[1]


def test_the_template_comes_with_nuclei_where_they_belong(test_data):
    pytest.importorskip("nilearn")
    anatomy = load_anatomy("mni152", test_data("template_cit168_subcortical_labels").parent)
    putamen = torch.nonzero(anatomy.labels == anatomy.names.index("putamen")).double()
    world = putamen @ anatomy.affine[:3, :3].T + anatomy.affine[:3, 3]
    assert len(putamen) == pytest.approx(21216, rel=0.02)  # both sides of the atlas
    assert 22 < float(world[:, 0].abs().mean()) < 30
    assert abs(float(world[:, 0].mean())) < 3
    bare = load_anatomy("mni152")
    assert "putamen" not in bare.names


def test_missing_anatomies_are_named(tmp_path):
    with pytest.raises(FileError, match="brainweb"):
        load_anatomy("brainweb-04")
    with pytest.raises(FileError, match="subj04"):
        load_anatomy("brainweb-04", tmp_path)
