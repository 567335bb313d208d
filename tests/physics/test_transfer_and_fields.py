"""Steady states against the pulse train itself, followed until it settles, and formulas in their limits."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from fastqmri.core import (
    ActualFlipAngle,
    DataError,
    DoubleAngle,
    MagnetizationTransferRatio,
    MagnetizationTransferSaturation,
    MultiEchoGradientEcho,
)
from fastqmri.physics.signal import (
    ActualFlipAngleSignal,
    DoubleAngleSignal,
    MultiParameter,
    PhaseEvolution,
    TransferRatio,
    TransferSaturation,
)
from physics.cases.transfer import THREE, weighted
from physics.checks import from_priors

T1 = torch.linspace(0.3, 4.0, 23, dtype=torch.float64)


def rows(*values: float | Tensor) -> Tensor:
    return torch.stack(torch.broadcast_tensors(*(torch.as_tensor(v, dtype=torch.float64) for v in values)))


def relax(z: Tensor, time: float) -> Tensor:
    return 1 + (z - 1) * torch.exp(-time / T1)


def test_multi_parameter_is_the_pulse_train_settled() -> None:
    mtsat, b1 = 1.7, 0.93
    model = MultiParameter(THREE, "none")
    signal = model(rows(1000.0, T1, 0.03, mtsat, b1))
    for i, (te, nominal, tr, on) in enumerate(
        zip(THREE.echo_time, THREE.flip_angle, THREE.repetition_time, THREE.mt_state, strict=True)
    ):
        angle, z = b1 * nominal, torch.ones_like(T1)
        for _ in range(4000):
            before = z
            z = z * math.cos(angle)
            z = relax(z * (1 - mtsat / 100) if on else z, tr)
        wanted = 1000 * before * math.sin(angle) * math.exp(-te / 0.03)
        torch.testing.assert_close(signal[i], wanted, rtol=1e-10, atol=0)


@pytest.mark.parametrize("recovery", ["linear", "exact"])
def test_actual_flip_angle_is_the_pulse_train_settled(recovery: str) -> None:
    acquisition = ActualFlipAngle(repetition_time=(0.02, 0.1), flip_angle=math.radians(60))
    angle, z = 1.1 * acquisition.flip_angle, torch.ones_like(T1)
    for _ in range(400):
        first = z * math.sin(angle)
        z = relax(z * math.cos(angle), 0.02)
        second = z * math.sin(angle)
        z = relax(z * math.cos(angle), 0.1)
    model = ActualFlipAngleSignal(acquisition, recovery)
    found = model(rows(1.0, 1.1, T1)[: len(model.parameters)])
    ratio = second / first
    # the linear form holds for TR far below T1
    tolerance = 1e-10 if recovery == "exact" else 0.05 * 0.1 / float(T1.min())
    torch.testing.assert_close(found[1] / found[0], ratio, rtol=tolerance, atol=0)
    if recovery == "exact":
        torch.testing.assert_close(found[0], first, rtol=1e-10, atol=0)


def test_small_angles_make_the_exact_model_helms_approximation() -> None:
    small = weighted((2, 0.6, 0.005, True), (2, 0.6, 0.005, False), (2, 2.0, 0.005, False))
    short = MagnetizationTransferSaturation(
        mt_state=small.mt_state, flip_angle=small.flip_angle, repetition_time=small.repetition_time
    )
    for correction in ("semi-empirical", "quadratic", "none"):
        exact = MultiParameter(small.model_copy(update={"echo_time": (1e-12,) * 6}), correction)
        approximate = TransferSaturation(short, correction)
        x = rows(1.0, T1, 0.02, 0.9)
        full = rows(1.0, T1, 1.0, 0.02, 0.9)
        torch.testing.assert_close(exact(full), approximate(x), rtol=2e-3, atol=0)


def test_nominal_field_makes_all_corrections_equal(generator: torch.Generator) -> None:
    x = from_priors(MultiParameter(THREE), 31, generator)
    x[-1] = 1.0
    signals = [MultiParameter(THREE, c)(x) for c in ("semi-empirical", "quadratic", "none")]
    for other in signals[1:]:
        torch.testing.assert_close(other, signals[0], rtol=1e-12, atol=0)


def test_uncorrected_angles_are_the_quadratic_form() -> None:
    """Helms' formulas with nominal angles give δ/B1²: what ``quadratic`` reports from the true angles."""
    acquisition = MagnetizationTransferSaturation(
        mt_state=(True, False, False),
        flip_angle=(0.1, 0.1, 0.35),
        repetition_time=(0.025, 0.025, 0.025),
    )
    b1 = 1.2
    mt, pd, t1w = TransferSaturation(acquisition, "quadratic")(rows(900.0, T1, 1.5, b1))
    low, high, tr = 0.1, 0.35, 0.025
    r1 = 0.5 * (t1w * high / tr - pd * low / tr) / (pd / low - t1w / high)
    amplitude = pd * t1w * (tr * high / low - tr * low / high) / (t1w * tr * high - pd * tr * low)
    delta = (amplitude * low / mt - 1) * r1 * tr - low**2 / 2
    torch.testing.assert_close(100 * delta, torch.full_like(T1, 1.5), rtol=1e-9, atol=0)


def test_no_weighting_is_as_bright_as_with_the_pulse() -> None:
    model = TransferRatio(MagnetizationTransferRatio(mt_state=(False, True)))
    torch.testing.assert_close(model(rows(3.0, 0.0)), rows(3.0, 3.0))
    torch.testing.assert_close(model(rows(3.0, 100.0)), rows(3.0, 0.0))


def test_phase_line_unwraps_along_the_echoes(generator: torch.Generator) -> None:
    """Ten echoes out of order, up to just below half a turn between the two that lie closest."""
    times = (0.0171, 0.0021, 0.0046, 0.0096, 0.0121, 0.0146, 0.0071, 0.0196, 0.0221, 0.0246)
    model = PhaseEvolution(MultiEchoGradientEcho(echo_time=times))
    b0 = torch.linspace(-195, 195, 79, dtype=torch.float64)
    data = torch.polar(
        torch.ones(10, 79, dtype=torch.float64),
        0.3 + 2 * math.pi * b0 * torch.tensor(times)[:, None].double(),
    )
    noise = torch.randn(10, 79, 2, dtype=torch.float64, generator=generator)
    found, phase = model.line(data + 0.01 * torch.view_as_complex(noise))
    assert float((found - b0).abs().max()) < 1.0
    assert float((phase - 0.3).abs().max()) < 0.1


def test_swapped_images_are_noticed() -> None:
    ratio = TransferRatio(MagnetizationTransferRatio(mt_state=(False, True)))
    interleaved = ActualFlipAngleSignal(ActualFlipAngle(repetition_time=(0.02, 0.1), flip_angle=1.0))
    double = DoubleAngleSignal(DoubleAngle(flip_angle=(0.5, 1.0)))
    for model, x in (
        (ratio, rows(1.0, torch.linspace(10, 50, 20))),
        (interleaved, rows(1.0, torch.linspace(0.8, 1.2, 20))),
    ):
        data = model(x)
        model.examine(data)
        with pytest.raises(DataError, match="swapped"):
            model.examine(data.flip(0))
    data = double(rows(1.0, torch.linspace(0.8, 1.2, 20)))
    double.examine(data)
    with pytest.raises(DataError, match="twice"):
        double.examine(torch.stack([data[0], 2.1 * data[0]]))
    saturation = TransferSaturation(
        MagnetizationTransferSaturation(
            mt_state=(True, False, False), flip_angle=(0.1, 0.1, 0.35), repetition_time=(0.025,) * 3
        )
    )
    data = saturation(rows(1.0, T1, 2.0, 1.0))
    saturation.examine(data)
    with pytest.raises(DataError, match="brighter"):
        saturation.examine(data[[1, 0, 2]])
