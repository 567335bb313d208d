"""Closed forms of magnetisation transfer against the experiments they stand for, simulated step by step."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.linalg import expm

from fastqmri.core import (
    AcquisitionError,
    BalancedMagnetizationTransfer,
    PlausibilityError,
    QuantitativeMagnetizationTransfer,
)
from fastqmri.physics.signal import BalancedTransferSignal, RamaniSignal, YarnykhSignal
from fastqmri.physics.signal.magnetization_transfer import ON_RESONANCE, free_rate
from physics.cases.magnetization_transfer import BALANCED, SATURATED
from physics.test_lineshapes import integral

WHITE = {"F": 0.14, "kr": 28.0, "T2f": 0.03, "T2r": 11e-6, "R1": 1.1, "B1": 0.93, "B0": 37.0}
AMPLITUDES = {142: 222.6, 426: 667.7}
"""w1cw in rad/s of 10.2 ms Gauss-Hann pulses of 200 Hz every 25 ms, by their angle in degrees; published values."""


def column(model, tissue=WHITE) -> torch.Tensor:
    return torch.tensor([[1.0], *([tissue[p.name]] for p in model.parameters[1:])], dtype=torch.float64)


def shape(offset: float, t2: float) -> float:
    return integral(0.00016 * offset**2 + 1140 if abs(offset) <= 1500 else offset, t2)


def rate_of_water() -> float:
    """The free pool whose slower eigenvalue together with the other pool is nearly R1, as Henkelman solved it."""
    kf, apart = WHITE["kr"] * WHITE["F"], 1 - WHITE["R1"]
    return WHITE["R1"] - kf * apart / (apart + WHITE["kr"])


def ramani(angle: int, offset: float) -> float:
    wave = WHITE["B1"] * AMPLITUDES[angle]
    kr, r1f, d = WHITE["kr"], rate_of_water(), offset - WHITE["B0"]
    ratio = kr * WHITE["F"] / r1f
    w = math.pi * wave**2 * shape(d, WHITE["T2r"])
    direct = 1 + (wave / (2 * math.pi * d)) ** 2 / (r1f * WHITE["T2f"])
    return (ratio + w + 1 + kr) / (ratio * (1 + w) + direct * (w + 1 + kr))


def test_ramani_by_hand() -> None:
    model = RamaniSignal(SATURATED)
    found = model(column(model))[:, 0]
    angles = [round(math.degrees(a)) for a in SATURATED.saturation_angle]
    wanted = [ramani(*pair) for pair in zip(angles, SATURATED.offset, strict=True)]
    np.testing.assert_allclose(found, wanted, rtol=2e-4)  # the published amplitudes have four digits


def test_ramani_against_the_continuous_wave_it_stands_for() -> None:
    """Steady state of Bloch-McConnell equations under a continuous wave: what the closed form leaves out is small."""
    model = RamaniSignal(SATURATED)
    found = model(column(model))[:, 0].numpy()
    kr, f, r1f, r2 = WHITE["kr"], WHITE["F"], rate_of_water(), 1 / WHITE["T2f"]
    kf = kr * f
    exact = []
    for angle, offset in zip(SATURATED.saturation_angle, SATURATED.offset, strict=True):
        wave, d = WHITE["B1"] * AMPLITUDES[round(math.degrees(angle))], offset - WHITE["B0"]
        turn = 2 * math.pi * d
        w = math.pi * wave**2 * shape(d, WHITE["T2r"])
        a = np.array(
            [[-r2, -turn, 0, 0], [turn, -r2, -wave, 0], [0, wave, -r1f - kf, kr], [0, 0, kf, -1 - kr - w]]
        )
        exact.append(np.linalg.solve(a, [0, 0, -r1f, -f])[2])
    error = np.abs(found - exact)
    assert error[np.abs(SATURATED.offset) > 2000].max() < 1e-4
    assert error.max() < 4e-3


def test_yarnykh_against_repeated_steps() -> None:
    model = YarnykhSignal(SATURATED)
    found = model(column(model))[:, 0].numpy()
    f, kr, r1f, t2f = WHITE["F"], WHITE["kr"], rate_of_water(), WHITE["T2f"]
    samples = (np.arange(1000) + 0.5) / 1000 - 0.5
    product = SATURATED.pulse_bandwidth * SATURATED.pulse_duration
    pulse = np.exp(-((math.pi * product * samples) ** 2) / (4 * math.log(2))) * np.cos(math.pi * samples) ** 2
    rest = np.array([[-r1f - kr * f, kr, r1f], [kr * f, -kr - 1, f], [0, 0, 0]])

    def water(angle: float, offset: float) -> float:
        peak = WHITE["B1"] * angle / (pulse.mean() * SATURATED.pulse_duration)
        power, d = peak**2 * (pulse**2).mean(), offset - WHITE["B0"]
        driven = rest.copy()
        driven[0, 0] -= math.pi * power * t2f / math.pi / (1 + (2 * math.pi * d * t2f) ** 2)
        driven[1, 1] -= math.pi * power * shape(d, WHITE["T2r"])
        turn = np.diag([math.cos(WHITE["B1"] * SATURATED.flip_angle), 1, 1])
        free = SATURATED.repetition_time - SATURATED.pulse_duration - SATURATED.delay
        cycle = (
            expm(rest * SATURATED.delay) @ expm(driven * SATURATED.pulse_duration) @ expm(rest * free) @ turn
        )
        return (np.linalg.matrix_power(cycle, 4096) @ [1, f, 1])[0]

    none = water(0, 1000.0)
    wanted = [water(*pair) / none for pair in zip(SATURATED.saturation_angle, SATURATED.offset, strict=True)]
    np.testing.assert_allclose(found, wanted, rtol=1e-8)


def test_bssfp_against_repeated_pulses() -> None:
    """Alternating pulses, each an instant, between them relaxation and then exchange, until nothing changes."""
    model = BalancedTransferSignal(BALANCED)
    found = model(column(model))[:, 0].numpy()
    f, kr, r1f, t2f, t2r, b1 = (WHITE[k] for k in ("F", "kr", "R1", "T2f", "T2r", "B1"))
    r1f = rate_of_water()
    total = kr * (1 + f)
    wanted = []
    for angle, duration, repetition in zip(
        BALANCED.flip_angle, BALANCED.pulse_duration, BALANCED.repetition_time, strict=True
    ):
        a = b1 * angle
        kept = math.exp(-math.pi * (a / duration) ** 2 * ON_RESONANCE * t2r * duration)
        mixed = math.exp(-total * repetition)
        e1f, e1r, e2f = (math.exp(-rate * repetition) for rate in (r1f, 1.0, 1 / t2f))
        y, zf, zr = 0.0, 1.0, f
        for _ in range(6000):
            y, zf, zr = y * math.cos(a) + zf * math.sin(a), zf * math.cos(a) - y * math.sin(a), zr * kept
            observed = y
            y = -y * e2f  # the next pulse has the opposite phase
            zf, zr = 1 + (zf - 1) * e1f, f + (zr - f) * e1r
            both, excess = zf + zr, (f * zf - zr) / (1 + f) * mixed
            zf, zr = both / (1 + f) + excess, both * f / (1 + f) - excess
        wanted.append(observed)
    np.testing.assert_allclose(found, wanted, rtol=1e-7)


@pytest.mark.parametrize("kind", [RamaniSignal, YarnykhSignal])
def test_without_saturation_nothing_is_lost(kind) -> None:
    angles = (0.0, *SATURATED.saturation_angle[1:])
    model = kind(SATURATED.model_copy(update={"saturation_angle": angles}))
    signal = model(3.5 * column(model) * torch.tensor([1.0] + [1 / 3.5] * 7, dtype=torch.float64)[:, None])
    assert float(signal[0, 0]) == pytest.approx(3.5, rel=1e-12)
    assert bool((signal[1:] < 3.5).all())


def test_field_shift_moves_the_offset() -> None:
    """Water that turns 100 Hz faster meets an offset of +1188 Hz as 1088 Hz."""
    moved = SATURATED.model_copy(update={"offset": tuple(d + 100 for d in SATURATED.offset)})
    here, there = RamaniSignal(SATURATED), RamaniSignal(moved)
    torch.testing.assert_close(here(column(here)), there(column(there, {**WHITE, "B0": 137.0})))


def test_observed_rate_is_the_slow_eigenvalue() -> None:
    x = torch.tensor([[0.14], [28.0], [1.1]], dtype=torch.float64)
    r1f = float(free_rate(*x))
    assert r1f == pytest.approx(rate_of_water())
    rates = np.array([[r1f + 28 * 0.14, -28.0], [-28 * 0.14, 29.0]])
    assert min(np.linalg.eigvals(rates)) == pytest.approx(1.1, abs=1e-9)


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"offset": (0.443, 1.0, 17.2, 3.5)}, PlausibilityError, "kHz or ppm"),
        ({"saturation_angle": (142.0,) * 4}, PlausibilityError, "degrees"),
        ({"saturation_angle": (0.0,) * 4}, AcquisitionError, "all zero"),
        ({"saturation_angle": (2.0,) * 3}, AcquisitionError, "one of each"),
        ({"pulse_duration": 0.03}, PlausibilityError, "no time is left"),
        ({"repetition_time": 25.0, "pulse_duration": 10.2}, PlausibilityError, "milliseconds"),
    ],
)
def test_impossible_acquisitions(fields, error, message) -> None:
    good = {
        "saturation_angle": (2.5,) * 4,
        "offset": (1000.0, 2000.0, 4000.0, 9000.0),
        "pulse_duration": 0.01,
        "repetition_time": 0.025,
    }
    with pytest.raises(error, match=message):
        QuantitativeMagnetizationTransfer(**{**good, **fields})


def test_too_few_images() -> None:
    few = QuantitativeMagnetizationTransfer(
        saturation_angle=(2.5,) * 4, offset=(1e3, 2e3, 4e3, 9e3), pulse_duration=0.01, repetition_time=0.025
    )
    with pytest.raises(AcquisitionError, match="5 unknowns"):
        RamaniSignal(few)
    assert RamaniSignal(few, normalised=True).estimated == (1, 2, 3, 4)
    with pytest.raises(AcquisitionError, match="flip angle"):
        YarnykhSignal(few, normalised=True)
    with pytest.raises(PlausibilityError, match="no time"):
        BalancedMagnetizationTransfer(
            flip_angle=(0.1, 0.2), pulse_duration=(0.01,) * 2, repetition_time=(0.005,) * 2
        )


def test_measured_water_is_that_of_its_map() -> None:
    free, measured = (RamaniSignal(SATURATED, True, water) for water in ("free", "measured"))
    assert [measured.parameters[i].name for i in measured.estimated] == ["F", "kr", "T2r"]
    x = torch.tensor([1.0, 0.12, 25.0, 0.045, 1e-5, 0.9, 1.0, 0.0], dtype=torch.float64)[:, None]
    known = {"T2f": x[3], "R1": x[5]}
    assert torch.equal(measured.forward(measured.complete(x[[1, 2, 4]], known)), free.forward(x))
