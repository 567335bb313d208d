"""Signal models in the limits of physics, where the answer is known without them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from fastqmri.core import (
    AcquisitionError,
    DiffusionWeighted,
    InversionRecovery,
    LookLocker,
    MultiEchoGradientEcho,
    MultiEchoSpinEcho,
    VariableFlipAngle,
)
from fastqmri.physics.signal import (
    ApparentDiffusion,
    BiexponentialDecay,
    ComplexGradientEcho,
    DiffusionTensor,
    ExponentialDecay,
    IntravoxelIncoherentMotion,
    InversionRecoverySignal,
    LookLockerSignal,
    SpoiledGradientEcho,
)
from physics.cases.diffusion import SHELLS, unit_vectors
from physics.registry import BY_NAME

T1 = torch.logspace(math.log10(0.05), math.log10(5), 31, dtype=torch.float64)
ANGLES = tuple(math.radians(a) for a in (1, 7, 30, 90, 120))


def rows(*values: float | Tensor) -> Tensor:
    """(parameter, voxel) from numbers and vectors."""
    return torch.stack(torch.broadcast_tensors(*(torch.as_tensor(v, dtype=torch.float64) for v in values)))


def close(found: Tensor, wanted: Tensor | float, tolerance: float = 1e-12) -> None:
    wanted = torch.as_tensor(wanted, dtype=found.dtype)
    torch.testing.assert_close(found, wanted.expand_as(found), rtol=tolerance, atol=tolerance)


def spoiled(angles: Sequence[float], repetition_time: float) -> SpoiledGradientEcho:
    return SpoiledGradientEcho(VariableFlipAngle(flip_angle=tuple(angles), repetition_time=repetition_time))


def test_full_recovery_leaves_the_sine_of_the_flip_angle() -> None:
    short = torch.linspace(0.01, 0.05, 9, dtype=torch.float64)
    signal = spoiled(ANGLES, 1.9)(rows(1.3, short, 1.0))
    close(signal, 1.3 * torch.sin(torch.tensor(ANGLES, dtype=torch.float64))[:, None])


def test_ninety_degrees_is_saturation_recovery() -> None:
    signal = spoiled((math.pi / 2, 0.5), 0.5)(rows(1.0, T1, 1.0))[0]
    close(signal, 1 - torch.exp(-0.5 / T1))


def test_no_repetition_time_leaves_no_signal() -> None:
    signal = spoiled(ANGLES, 1e-12)(rows(1.0, T1, 1.0))
    assert float(signal.abs().max()) < 1e-8


@pytest.mark.parametrize("t1", [0.3, 0.8, 1.3, 4.0])
def test_ernst_angle_is_the_maximum(t1: float) -> None:
    ernst = math.acos(math.exp(-0.0052 / t1))
    angles = [ernst * (1 + 0.001 * step) for step in range(-900, 1500)]
    signal = spoiled(angles, 0.0052)(rows(1.0, t1, 1.0).view(3, 1))[:, 0]
    assert int(signal.argmax()) == 900
    by_angle = spoiled((ernst, 0.1), 0.0052).jacobian(rows(1.0, t1, 1.0).view(3, 1))[0, 2, 0]
    assert abs(float(by_angle)) < 1e-12  # B1 scales the angle, so its derivative vanishes there too


def test_nominal_transmit_field_is_no_transmit_field() -> None:
    model = spoiled(ANGLES, 0.01)
    estimated = rows(1.2, T1)
    without = model.complete(estimated, {})
    close(without[2], 1.0, 0)
    ones = model.complete(estimated, {"B1": torch.ones_like(T1)})
    assert torch.equal(model(without), model(ones))


def test_transmit_field_scales_every_flip_angle() -> None:
    scaled = spoiled([0.8 * a for a in ANGLES], 0.01)(rows(1.0, T1, 1.0))
    close(spoiled(ANGLES, 0.01)(rows(1.0, T1, 0.8)), scaled)


def inversion(
    signal: str, kind: str, times: tuple[float, ...], repeat: float | None
) -> InversionRecoverySignal:
    acquisition = InversionRecovery(inversion_time=times, repetition_time=repeat)
    return InversionRecoverySignal(acquisition, signal, kind)  # type: ignore[arg-type]


def test_recovery_starts_inverted_and_ends_complete() -> None:
    model = inversion("real", "free", (1e-12, 19.9), None)
    t1 = T1[T1 < 0.5]
    start, end = model(rows(1.4, t1, 1.9))
    close(start, 1.4 * (1 - 1.9), 1e-9)
    close(end, 1.4, 1e-9)


def test_null_lies_at_ln2_of_t1() -> None:
    model = inversion("real", "perfect", (0.9 * math.log(2), 0.8 * math.log(2)), None)
    signal = model(rows(1.0, torch.tensor([0.9, 0.8], dtype=torch.float64)))
    close(signal.diagonal(), 0.0)


def test_long_repetition_time_is_full_recovery() -> None:
    times = (0.1, 0.7, 2.5)
    x = rows(1.0, T1[T1 < 0.9])
    close(inversion("real", "perfect", times, 29.0)(x), inversion("real", "perfect", times, None)(x))
    free = rows(1.0, T1[T1 < 0.9], 2.0)
    close(inversion("real", "free", times, None)(free), inversion("real", "perfect", times, None)(x))


def test_repetition_time_equal_to_the_inversion_time_just_saturates() -> None:
    # the inversion meets what the last readout left: with TI = TR, M0 (1 - exp(-TR/T1))
    model = inversion("real", "perfect", (0.1, 3.0), 3.0)
    close(model(rows(1.0, T1))[1], 1 - torch.exp(-3.0 / T1))


def test_magnitude_and_complex_images_of_the_same_recovery() -> None:
    times = (0.1, 0.7, 2.5)
    x = rows(1.3, T1, 1.8)
    real = inversion("real", "free", times, None)(x)
    close(inversion("magnitude", "free", times, None)(x), real.abs())
    turned = inversion("complex", "free", times, None)(torch.cat([x, torch.full_like(x[:1], 0.7)]))
    close(turned, real * torch.exp(torch.tensor(0.7j, dtype=torch.complex128)))


def test_look_locker_runs_from_inversion_to_its_driven_state() -> None:
    model = LookLockerSignal(LookLocker(inversion_time=(1e-12, 1.0, 19.9)), "real")
    t1star = 0.6 * T1[T1 < 0.8]
    start, _, end = model(rows(1.2, T1[T1 < 0.8], t1star))
    close(start, -1.2, 1e-9)
    close(end, 1.2 * 0.6, 1e-9)


def test_look_locker_without_readout_is_inversion_recovery() -> None:
    times = (0.1, 0.7, 2.5)
    undriven = LookLockerSignal(LookLocker(inversion_time=times), "real")(rows(1.0, T1, T1))
    close(undriven, inversion("real", "perfect", times, None)(rows(1.0, T1)))


@pytest.mark.parametrize("acquisition", [MultiEchoSpinEcho, MultiEchoGradientEcho])
def test_no_echo_time_is_no_decay(acquisition: type[MultiEchoSpinEcho]) -> None:
    model = ExponentialDecay(acquisition(echo_time=(1e-15, 0.1)))
    times = torch.linspace(0.002, 0.3, 21, dtype=torch.float64)
    first, second = model(rows(1.1, times))
    close(first, 1.1)
    close(second, 1.1 * torch.exp(-0.1 / times))
    floor = ExponentialDecay(acquisition(echo_time=(1e-15, 0.9)), offset=True)
    close(floor(rows(1.1, times[:2], 0.05))[1], 0.05, 1e-9)


def test_spin_echoes_give_t2_and_gradient_echoes_t2star() -> None:
    assert ExponentialDecay(MultiEchoSpinEcho(echo_time=(0.01, 0.02))).parameters[1].name == "T2"
    assert ExponentialDecay(MultiEchoGradientEcho(echo_time=(0.01, 0.02))).parameters[1].name == "T2star"


def test_one_compartment_left_is_mono_exponential() -> None:
    acquisition = MultiEchoSpinEcho(echo_time=(0.01, 0.03, 0.09, 0.2))
    two, one = BiexponentialDecay(acquisition), ExponentialDecay(acquisition)
    close(two(rows(1.0, 0.0, 0.02, T1)), one(rows(1.0, T1)))
    close(two(rows(1.0, 1.0, T1 / 100, 0.3)), one(rows(1.0, T1 / 100)))
    close(two(rows(1.0, 0.37, 0.05, torch.full_like(T1, 0.05))), one(rows(1.0, torch.full_like(T1, 0.05))))


def test_off_resonance_turns_the_phase_and_leaves_the_magnitude() -> None:
    acquisition = MultiEchoGradientEcho(echo_time=(0.002, 0.006, 0.011))
    te = acquisition.tensor("echo_time")[:, None]
    t2star = torch.linspace(0.005, 0.1, 9, dtype=torch.float64)
    signal = ComplexGradientEcho(acquisition)(rows(1.2, t2star, 30.0, 0.4))
    close(signal.abs(), ExponentialDecay(acquisition)(rows(1.2, t2star)))
    close(signal.angle(), (0.4 + 2 * math.pi * 30 * te).expand_as(signal.real))


def test_no_weighting_leaves_s0() -> None:
    elements = (1.5e-3, 0.2e-3, -0.1e-3, 0.7e-3, 0.05e-3, 0.4e-3)
    tensor = DiffusionTensor(SHELLS)(rows(1.7, *elements).view(7, 1))
    close(tensor[:2], 1.7)
    trace = DiffusionWeighted(b_value=(0.0, 500.0, 1000.0))
    close(ApparentDiffusion(trace)(rows(1.7, 1e-3).view(2, 1))[0], 1.7)
    close(IntravoxelIncoherentMotion(trace)(rows(1.7, 0.2, 1e-3, 0.05).view(4, 1))[0], 1.7)


def test_isotropic_tensor_is_an_apparent_diffusion_coefficient() -> None:
    d = torch.linspace(1e-4, 3e-3, 17, dtype=torch.float64)
    tensor = DiffusionTensor(SHELLS)(rows(1.0, d, 0.0, 0.0, d, 0.0, d))
    scalar = ApparentDiffusion(DiffusionWeighted(b_value=SHELLS.b_value))(rows(1.0, d))
    close(tensor, scalar)


def test_tensor_turns_with_the_gradients(generator: torch.Generator) -> None:
    x = BY_NAME["dti"].tissue(generator, (23,))
    rotation, _ = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=generator))
    turned = (torch.tensor(SHELLS.b_vector, dtype=torch.float64) @ rotation.T).tolist()
    acquisition = DiffusionWeighted(b_value=SHELLS.b_value, b_vector=tuple(map(tuple, turned)))
    xx, xy, xz, yy, yz, zz = x[1:]
    matrix = torch.stack([xx, xy, xz, xy, yy, yz, xz, yz, zz]).view(3, 3, -1)
    d = torch.einsum("ia,abv,jb->ijv", rotation, matrix, rotation)
    moved = torch.stack([x[0], d[0, 0], d[0, 1], d[0, 2], d[1, 1], d[1, 2], d[2, 2]])
    close(DiffusionTensor(acquisition)(moved), DiffusionTensor(SHELLS)(x))


def test_no_perfusion_is_an_apparent_diffusion_coefficient() -> None:
    trace = DiffusionWeighted(b_value=(0.0, 10.0, 50.0, 200.0, 800.0))
    d = torch.linspace(2e-4, 3e-3, 17, dtype=torch.float64)
    two, one = IntravoxelIncoherentMotion(trace), ApparentDiffusion(trace)
    close(two(rows(1.0, 0.0, d, 0.05)), one(rows(1.0, d)))
    close(two(rows(1.0, 1.0, 1e-3, 5 * d)), one(rows(1.0, 5 * d)))


@pytest.mark.parametrize(
    "acquisition",
    [
        DiffusionWeighted(b_value=(0.0, *(1000.0,) * 5), b_vector=((0.0, 0.0, 0.0), *unit_vectors(5))),
        DiffusionWeighted(b_value=(*(1000.0,) * 5, 900.0), b_vector=(*unit_vectors(5), unit_vectors(1)[0])),
        DiffusionWeighted(
            b_value=(0.0, *(1000.0,) * 8),
            b_vector=((0.0, 0.0, 0.0), *((math.cos(a), math.sin(a), 0.0) for a in range(8))),
        ),
        DiffusionWeighted(b_value=(0.0, 500.0, 1000.0)),
    ],
    ids=["five directions", "no unweighted image", "all in one plane", "no directions"],
)
def test_tensor_refuses_what_does_not_determine_it(acquisition: DiffusionWeighted) -> None:
    with pytest.raises(AcquisitionError):
        DiffusionTensor(acquisition)
