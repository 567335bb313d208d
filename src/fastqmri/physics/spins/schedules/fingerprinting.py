"""Published fingerprinting schedules, and a train of refocusing pulses."""

from __future__ import annotations

import math

import torch

from fastqmri.core import Fingerprinting, RefocusingTrain
from fastqmri.physics.spins.schedules.published import Published

_LOBES = ((35, 2, 199, 10), (43, 1, 200, 10), (70, 1, 200, 9), (45, 1, 200, 11), (27, 1, 161, 0))
"""Peak (deg), first k, number of excitations, zeros after them."""
_TURNS = 21
_DRONE_ANGLES = "38 73 85 29 73 41 74 47 19 77 78 41 29 22 51 45 46 40 24 18 24 64 87 42 86"
_DRONE_TIMES = "45 47 34 37 75 47 39 76 75 33 57 44 77 77 32 30 75 38 38 59 71 25 49 74 64"
_EPI_ANGLES = "87 85 11 66 69 6 25 41 14 16 53 44 55 20 24 35 39 80 67 54 41 64 43 35 22"
_EPI_TIMES = "44 40 70 57 84 81 76 84 69 116 87 118 85 110 68 96 48 43 55 115 105 107 95 115 47"
_BEAT_PEAKS = (12.5, 18.75, 25.0, 25.0, 25.0)
_PREPARATIONS = (("inversion", 0.021), ("none", 0.0), ("t2prep", 0.03), ("t2prep", 0.05), ("t2prep", 0.08))


def irfisp_1000() -> Fingerprinting:
    """1000 repetitions after an inversion: five half-sine lobes of flip angles.

    The angles follow the published closed form. The repetition times are our choice of the same character as the
    published ones: a natural cubic spline through 21 seeded random knots, brought to the published least (11.67 ms),
    greatest (14.33 ms) and mean (13.13 ms).

    Source: Jiang 2015.
    """
    angles: list[float] = []
    for peak, first, count, zeros in _LOBES:
        angles += [5 + (peak - 5) * math.sin(math.pi * k / 200) for k in range(first, first + count)]
        angles += [0.0] * zeros
    return Fingerprinting(
        flip_angle=tuple(math.radians(angle) for angle in angles),
        repetition_time=_wandering(len(angles)),
        echo_time=(0.001908,) * len(angles),
        inversion_time=0.018,
    )


def irfisp_500() -> Fingerprinting:
    """500 repetitions of 12 ms after an inversion: half-sine lobes of 30° and 90°, then 10°.

    Lobes of 200 repetitions, TE 2 ms and TI 20 ms are our choice.
    """
    lobe = [math.sin(math.pi * (k + 0.5) / 200) for k in range(200)]
    angles = [30 * s for s in lobe] + [90 * s for s in lobe] + [10.0] * 100
    return Fingerprinting(
        flip_angle=tuple(math.radians(angle) for angle in angles),
        repetition_time=(0.012,) * len(angles),
        echo_time=(0.002,) * len(angles),
        inversion_time=0.02,
    )


def drone_25() -> Fingerprinting:
    """25 excitations for T1 and T2 in 1.3 s, our choice by a random search for small Cramér-Rao bounds."""
    return _few(_DRONE_ANGLES, _DRONE_TIMES, 0.012)


def drone_epi_25() -> Fingerprinting:
    """25 excitations with echo times that suit an EPI readout, our choice in the same way."""
    return _few(_EPI_ANGLES, _EPI_TIMES, 0.02)


def cardiac_15(per_beat: int = 50, rr_interval: float = 1.0) -> Fingerprinting:
    """15 heartbeats: inversion, none, T2 preparations of 30, 50 and 80 ms, three times over.

    In each beat the angle climbs from 4° to the beat's maximum in 16 excitations and stays there.

    Args:
        per_beat: excitations in a heartbeat.
        rr_interval: of a regular heart, in s; `differentiable` or ``model_copy`` give it another rhythm.
    """
    angles: list[float] = []
    for peak in _BEAT_PEAKS * 3:
        climb = [4 + (peak - 4) * k / 15 for k in range(16)]
        angles += (climb + [peak] * per_beat)[:per_beat]
    kinds, times = zip(*_PREPARATIONS * 3, strict=True)
    return Fingerprinting(
        flip_angle=tuple(math.radians(angle) for angle in angles),
        repetition_time=(0.0051,) * len(angles),
        echo_time=(0.0015,) * len(angles),
        segment_length=(per_beat,) * 15,
        preparation=kinds,
        preparation_time=times,
        rr_interval=(rr_interval,) * 15,
    )


def refocusing_16() -> RefocusingTrain:
    """16 echoes 10 ms apart whose angles fall from 180° to 110° and rise again; our choice."""
    angles = [145 + 35 * math.cos(2 * math.pi * n / 15) for n in range(16)]
    return RefocusingTrain(refocusing_angle=tuple(math.radians(angle) for angle in angles), echo_spacing=0.01)


def _few(angles: str, times: str, echo_time: float) -> Fingerprinting:
    return Fingerprinting(
        flip_angle=tuple(math.radians(float(angle)) for angle in angles.split()),
        repetition_time=tuple(1e-3 * float(time) for time in times.split()),
        echo_time=(echo_time,) * len(times.split()),
        inversion_time=0.02,
    )


def _wandering(count: int) -> tuple[float, ...]:
    """Slowly varying repetition times in s."""
    low, high, mean = 11.67e-3, 14.33e-3, 13.13e-3
    generator = torch.Generator().manual_seed(2015)
    curve = _spline(torch.rand(_TURNS, dtype=torch.float64, generator=generator), count)
    unit = (curve - curve.min()) / (curve.max() - curve.min())
    below, above = 0.1, 10.0  # an exponent moves the mean and leaves the ends where they are
    for _ in range(60):
        exponent = math.sqrt(below * above)
        found = low + (high - low) * float((unit**exponent).mean())
        below, above = (exponent, above) if found > mean else (below, exponent)
    return tuple((low + (high - low) * unit**exponent).tolist())


def _spline(knots: torch.Tensor, count: int) -> torch.Tensor:
    """Natural cubic spline through equally spaced knots, at ``count`` points from end to end."""
    n = len(knots)
    system = torch.eye(n, dtype=torch.float64)
    right = torch.zeros(n, dtype=torch.float64)
    for i in range(1, n - 1):
        system[i, i - 1 : i + 2] = torch.tensor([1.0, 4.0, 1.0], dtype=torch.float64)
        right[i] = 6 * (knots[i - 1] - 2 * knots[i] + knots[i + 1])
    bend = torch.linalg.solve(system, right)
    place = torch.linspace(0, n - 1, count, dtype=torch.float64)
    left = place.floor().clamp_max(n - 2).long()
    b, a = place - left, 1 - (place - left)
    cubic = ((a**3 - a) * bend[left] + (b**3 - b) * bend[left + 1]) / 6
    return a * knots[left] + b * knots[left + 1] + cubic


SCHEDULES = (
    Published(
        "irfisp-1000",
        "inversion and 1000 gradient-spoiled repetitions; angles published, repetition times our choice",
        irfisp_1000,
        ("jiang2015",),
    ),
    Published(
        "irfisp-500",
        "inversion and 500 repetitions of 12 ms, lobes of 30 and 90 deg (our choice of the details)",
        irfisp_500,
        ("jiang2015",),
    ),
    Published(
        "drone-25",
        "inversion and 25 repetitions of 25 to 80 ms (our choice, by Cramér-Rao bounds)",
        drone_25,
        ("cohen2018",),
    ),
    Published(
        "drone-epi-25",
        "inversion and 25 repetitions of 40 to 120 ms for an EPI readout (our choice)",
        drone_epi_25,
        ("cohen2018",),
    ),
    Published(
        "cardiac-15",
        "15 heartbeats of 50 repetitions with inversions and T2 preparations; RR intervals as input",
        cardiac_15,
        ("hamilton2021",),
    ),
    Published(
        "refocusing-16",
        "16 spin echoes 10 ms apart, refocusing angles of 180 to 110 deg (our choice)",
        refocusing_16,
        ("weigel2015",),
    ),
)
