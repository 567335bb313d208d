"""Imperfections: what they do, in closed form, and that a record does the same again."""

from __future__ import annotations

import math

import pytest
import torch

from fastqmri.core import (
    AcquisitionError,
    MultiEchoSpinEcho,
    PlausibilityError,
    UnknownNameError,
    VariableFlipAngle,
)
from fastqmri.learning.imperfections import (
    Compose,
    Constant,
    Field,
    Motion,
    Noise,
    PartialVolume,
    Phase,
    Scene,
    SliceProfile,
    TimingJitter,
    Untold,
)
from fastqmri.phantoms import move
from fastqmri.physics.signal import ExponentialDecay, SpoiledGradientEcho

ECHOES = ExponentialDecay(MultiEchoSpinEcho(echo_time=(0.01, 0.03, 0.06)))
ANGLES = SpoiledGradientEcho(VariableFlipAngle(flip_angle=(0.05, 0.1, 0.2, 0.35), repetition_time=0.006))
VOXELS = (9, 8)


def seeded(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def scene(model, voxels=VOXELS, samples=5) -> Scene:
    generator = seeded(9)
    low = torch.tensor([p.prior[0] for p in model.parameters])
    high = torch.tensor([p.prior[1] for p in model.parameters])
    share = torch.rand((len(low), samples, *voxels), generator=generator)
    ones = (1,) * (1 + len(voxels))
    x = torch.lerp(low.view(-1, *ones), high.view(-1, *ones), share)
    known = {p.name: x[i] for i, p in enumerate(model.parameters) if p.nominal is not None}
    return Scene(model, x, known)


def shape(s: Scene) -> tuple[int, ...]:
    return (s.model.acquisition.contrasts, *s.x.shape[1:])


EVERY = [
    (Field("B1", 0.7, 1.3), ANGLES),
    (Field("B1", 0.7, 1.3, known=False), ANGLES),
    (Constant("B1", 0.7, 1.3), ANGLES),
    (Untold("B1"), ANGLES),
    (TimingJitter("echo_time", 0.02), ECHOES),
    (SliceProfile(1.2, 0.2), ANGLES),
    (PartialVolume(0.5), ECHOES),
    (Phase(1.0), ECHOES),
    (Motion(0.1, 3.0, (2.0, 2.0)), ECHOES),
    (Noise((10.0, 50.0)), ECHOES),
    (Noise((10.0, 50.0), "rician", "rms"), ECHOES),
    (Noise((10.0, 50.0), "complex", "amplitude"), ECHOES),
    (Compose((Field("B1", 0.7, 1.3), SliceProfile(), Phase(), Noise((20.0, 20.0), "complex"))), ANGLES),
]


@pytest.mark.parametrize(("kind", "model"), EVERY)
@pytest.mark.parametrize("voxels", [VOXELS, ()])
def test_a_record_does_the_same_again(kind, model, voxels):
    if isinstance(kind, Motion) and not voxels:
        pytest.skip("a lone voxel does not move")
    start = scene(model, voxels)
    drawn = kind.draw(shape(start), seeded())
    one, two = kind.apply(drawn, start), kind.apply(drawn, start)
    again = kind.apply(kind.draw(shape(start), seeded()), start)
    for other in (two, again):
        assert torch.equal(one.signals(), other.signals())
        assert torch.equal(one.x, other.x)
        assert list(one.known) == list(other.known)
    assert one.signals().shape == shape(start)
    if not isinstance(kind, Untold):
        another = kind.apply(kind.draw(shape(start), seeded(4)), start)
        assert not torch.equal(one.signals(), another.signals())
        assert not torch.equal(one.signals(), start.signals())


@pytest.mark.parametrize("known", [True, False])
def test_a_field_replaces_the_map_and_is_told_or_not(known):
    start = scene(ANGLES)
    kind = Field("B1", 0.7, 1.3, known)
    drawn = kind.draw(shape(start), seeded())
    value = drawn.values["map"]
    end = kind.apply(drawn, start)
    assert 0.7 <= float(value.min()) < float(value.max()) <= 1.3
    assert torch.equal(end.x[start.row("B1")], value)
    assert ("B1" in end.known) is known
    wanted = start.x.clone()
    wanted[start.row("B1")] = value
    assert torch.equal(end.signals(), ANGLES(wanted))
    # smooth: neighbours differ by far less than the range
    assert float(value.diff(dim=-1).abs().max()) < 0.6 * float(value.max() - value.min()) + 1e-6
    with pytest.raises(UnknownNameError):
        Field("B0", -1.0, 1.0).apply(drawn, start)
    assert Field("B1", 0.7, 1.3).draw((4, 7), seeded()).values["map"].shape == (7,)


def test_a_constant_is_the_same_all_over_an_object():
    start = scene(ANGLES)
    end = Constant("B1", 0.7, 1.3).apply(Constant("B1", 0.7, 1.3).draw(shape(start), seeded()), start)
    row = end.x[start.row("B1")].flatten(1)
    assert torch.equal(row, row[:, :1].expand_as(row))
    assert len(set(row[:, 0].tolist())) == 5


def test_jitter_is_the_model_at_other_times():
    start = scene(ECHOES)
    kind = TimingJitter("echo_time", 0.05)
    drawn = kind.draw(shape(start), seeded())
    end = kind.apply(drawn, start)
    times = torch.tensor(ECHOES.acquisition.echo_time) * drawn.values["factor"].float()
    m0, t2 = start.x[:2]
    wanted = m0 * torch.exp(-times.view(-1, 1, 1, 1) / t2)
    assert torch.allclose(end.signals(), wanted, rtol=1e-5)
    assert end.model is ECHOES
    assert not ECHOES.acquisition.carries("echo_time")
    shared = TimingJitter("echo_time", 0.05, shared=True).draw((3, 5), seeded()).values["factor"]
    assert bool((shared == shared[0]).all())
    with pytest.raises(PlausibilityError):
        TimingJitter("echo_time", 0.5)


def test_a_slice_profile_averages_over_the_slice():
    start = scene(ANGLES)
    kind = SliceProfile(1.5, places=200)
    end = kind.apply(kind.draw(shape(start), seeded()), start)
    # by the trapezoid rule over the half slice
    place = torch.linspace(0, 0.5, 101, dtype=torch.float64)
    x = start.x.double()
    total = torch.zeros(shape(start), dtype=torch.float64)
    for z in place.tolist():
        part = x.clone()
        part[start.row("B1")] *= 2 ** -((2 * z / 1.5) ** 2)
        total += ANGLES(part) * (0.5 if z in (0.0, 0.5) else 1.0)
    assert torch.allclose(end.signals().double(), total / 100, rtol=1e-4, atol=1e-6)
    ideal = SliceProfile(math.inf)
    same = ideal.apply(ideal.draw(shape(start), seeded()), start)
    assert torch.allclose(same.signals(), start.signals(), rtol=1e-5)


def test_partial_volume_adds_signals():
    start = scene(ECHOES, ())
    kind = PartialVolume(0.6)
    drawn = kind.draw((3, 5), seeded())
    end = kind.apply(drawn, start)
    share, partner = drawn.values["share"], drawn.values["partner"]
    assert bool((share > 0).any())
    assert float(share.max()) <= 0.5
    for i in range(5):
        w, own, guest = float(share[i]), start.x[:, i], start.x[:, partner[i]]
        signal = [
            (1 - w) * own[0] * math.exp(-t / own[1]) + w * guest[0] * math.exp(-t / guest[1])
            for t in ECHOES.acquisition.echo_time
        ]
        assert end.signals()[:, i].tolist() == pytest.approx([float(s) for s in signal], rel=1e-4)
        density = (1 - w) * own[0] + w * guest[0]
        assert float(end.x[0, i]) == pytest.approx(float(density), rel=1e-5)
        mean = ((1 - w) * own[0] * own[1] + w * guest[0] * guest[1]) / density
        assert float(end.x[1, i]) == pytest.approx(float(mean), rel=1e-5)


def test_phase_leaves_magnitudes():
    start = scene(ECHOES)
    end = Phase(0.8).apply(Phase(0.8).draw(shape(start), seeded()), start)
    assert torch.allclose(end.signals().abs(), start.signals(), rtol=1e-5)
    assert torch.allclose(end.signals()[0].angle(), end.signals()[2].angle(), atol=1e-5)
    flat = Phase(0.0).draw(shape(start), seeded()).values["phase"].flatten(1)
    assert torch.equal(flat, flat[:, :1].expand_as(flat))
    assert float(Phase(0.8, constant=False).draw(shape(start), seeded()).values["phase"].abs().max()) <= 0.8


def test_motion_moves_each_object_by_its_own_pose():
    start = scene(ECHOES)
    kind = Motion(0.2, 4.0, (2.0, 2.0), probability=0.5)
    drawn = kind.draw(shape(start), seeded())
    end = kind.apply(drawn, start)
    poses = drawn.values["pose"]
    assert not bool(poses[:, 0].any())
    assert 0 < int(poses.flatten(1).any(1).sum()) < 5
    for i in range(5):
        assert torch.equal(end.signals()[:, i], move(start.signals()[:, i], poses[i], (2.0, 2.0)))
    assert torch.equal(end.x, start.x)


@pytest.mark.parametrize("reference", ["first", "rms", "amplitude"])
def test_noise_is_as_large_as_its_reference_says(reference):
    x = torch.tensor([0.8, 0.05]).view(2, 1, 1, 1).expand(2, 3, 100, 100)
    start = Scene(ECHOES, x.contiguous())
    kind = Noise((30.0, 30.0), "gaussian", reference)
    end = kind.apply(kind.draw(shape(start), seeded()), start)
    decay = [math.exp(-t / 0.05) for t in ECHOES.acquisition.echo_time]
    size = (
        0.8
        * {
            "first": decay[0],
            "rms": math.sqrt(sum(d * d for d in decay) / 3),
            "amplitude": 1.0,
        }[reference]
    )
    assert end.noise.tolist() == pytest.approx([size / 30] * 3, rel=1e-4)
    error = end.signals() - start.signals()
    # 30 000 samples a set: the standard error of a standard deviation is 0.4 %
    assert float(error.std()) == pytest.approx(size / 30, rel=0.02)


def test_rician_noise_has_the_mean_square_of_its_signal_plus_two_variances():
    x = torch.tensor([1.0, 0.02]).view(2, 1, 1).expand(2, 1, 40_000)
    start = Scene(ECHOES, x.contiguous())
    kind = Noise((2.0, 2.0), "rician", "amplitude")
    noisy = kind.apply(kind.draw(shape(start), seeded()), start).signals()
    assert bool((noisy >= 0).all())
    for contrast in range(3):
        wanted = float(start.signals()[contrast, 0, 0]) ** 2 + 2 * 0.25
        assert float(noisy[contrast].square().mean()) == pytest.approx(wanted, rel=0.03)


def test_levels_spread_over_their_range():
    snr = Noise((10.0, 1000.0)).draw((1, 4000), seeded()).values["snr"]
    assert 10 <= float(snr.min()) <= float(snr.max()) <= 1000
    # the logarithm is even: its mean is that of 100
    assert float(snr.log10().mean()) == pytest.approx(2.0, abs=0.05)
    clean = Noise((math.inf, math.inf))
    start = scene(ECHOES)
    assert torch.equal(clean.apply(clean.draw(shape(start), seeded()), start).signals(), start.signals())


def test_wrong_order_and_wrong_use_are_refused():
    start = scene(ANGLES)
    late = Compose((Phase(), Field("B1", 0.7, 1.3)))
    with pytest.raises(AcquisitionError, match="after the images"):
        late.apply(late.draw(shape(start), seeded()), start)
    real = Compose((Phase(), Noise((10.0, 10.0))))
    with pytest.raises(AcquisitionError, match="complex"):
        real.apply(real.draw(shape(start), seeded()), start)
    for build in (
        lambda: Field("B1", 1.3, 0.7),
        lambda: Constant("B1", 0.7, math.inf),
        lambda: Noise((0.0, 10.0)),
        lambda: Noise((10.0, math.inf)),
        lambda: SliceProfile(0.0),
        lambda: PartialVolume(0.2, 0.7),
    ):
        with pytest.raises(PlausibilityError):
            build()
