"""Closed forms that map the fields: B1+ by actual flip angle or double angle, B0 from the phase of the echoes."""

from __future__ import annotations

import math
from typing import Literal, final

import torch
from torch import Tensor

from fastqmri.core import (
    AcquisitionError,
    ActualFlipAngle,
    DataError,
    DoubleAngle,
    MultiEchoGradientEcho,
    Parameter,
)
from fastqmri.physics.signal.echoes import closest_echoes, nearest_first
from fastqmri.physics.signal.model import SignalModel
from fastqmri.physics.signal.relaxometry import AMPLITUDE, B1, M0

_SWAPPED_SHARE = 0.9


def _transmit_field(most: float) -> Parameter:
    """B1+ as an unknown, up to the value beyond which magnitudes become ambiguous."""
    low, high = B1.bounds
    return Parameter("B1", B1.unit, (low, min(high, most)), (0.7, min(1.3, most)), B1.description)


@final
class ActualFlipAngleSignal(SignalModel):
    """Two interleaved repetition times: the ratio of their signals gives the flip angle.

    With recovery ``linear`` (TR far below T1), M0 (TR' + TR cos α)/((TR + TR') sin α), TR the time after the excitation
    and TR' the other one; M0 carries the T1 weighting. With recovery ``exact``,
    M0 sin α (1 - E' + (1 - E) E' cos α)/(1 - E E' cos² α), E = exp(-TR/T1), T1 known.

    Source: Yarnykh 2007.

    Args:
        acquisition: both repetition times, and the flip angle.
        recovery: of the magnetisation between excitations.
    """

    title = "Actual flip angle"
    references = ("yarnykh2007",)
    acquisition: ActualFlipAngle
    RECOVERIES = ("linear", "exact")

    def __init__(self, acquisition: ActualFlipAngle, recovery: Literal["linear", "exact"] = "linear") -> None:
        short, long = sorted(acquisition.repetition_time)
        most = math.acos(-short / long) / acquisition.flip_angle
        known = Parameter("T1", "s", (0.005, 10.0), (0.3, 3.0), "longitudinal relaxation time", nominal=1.0)
        super().__init__(acquisition, (M0, _transmit_field(most), *((known,) if recovery == "exact" else ())))
        self.recovery = recovery
        self.equation = (
            "M0 * (TRother + TR*cos(B1*FA)) / ((TR + TRother) * sin(B1*FA))"
            if recovery == "linear"
            else "M0 * sin(B1*FA) * (1 - exp(-TRother/T1) + (1 - exp(-TR/T1))*exp(-TRother/T1)*cos(B1*FA))"
            " / (1 - exp(-(TR + TRother)/T1)*cos(B1*FA)^2)"
        )

    def forward(self, x: Tensor) -> Tensor:
        """Signal (contrast, *voxels) of (M0, B1[, T1])."""
        return self.evaluate(x)[0]

    def jacobian(self, x: Tensor) -> Tensor:
        """∂signal/∂(M0, B1[, T1])."""
        return self.evaluate(x)[1]

    def evaluate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Signal and Jacobian."""
        nominal = self.acquisition.tensor("flip_angle", like=x)
        own = self._times("repetition_time", x)
        other = own.flip(0)
        angle = x[1] * nominal
        sine, cosine = torch.sin(angle), torch.cos(angle)
        if self.recovery == "linear":
            both = own + other
            unit = (other + own * cosine) / (both * sine)
            by_angle = -(own + other * cosine) / (both * sine**2)
            return x[0] * unit, torch.stack([unit, x[0] * nominal * by_angle], 1)
        t1 = x[2]
        recovered, recovered_other = -torch.expm1(-own / t1), -torch.expm1(-other / t1)
        rest, rest_other = 1 - recovered, 1 - recovered_other
        product = rest * rest_other
        top = recovered_other + recovered * rest_other * cosine
        bottom = sine**2 - cosine**2 * torch.expm1(-(own + other) / t1)
        unit = sine * top / bottom
        by_angle = (
            cosine * top / bottom
            - sine**2 * recovered * rest_other / bottom
            - 2 * sine**2 * cosine * product * top / bottom**2
        )
        slope, slope_other = rest * own / t1**2, rest_other * other / t1**2  # ∂E/∂T1
        top_by_t1 = -slope_other + (recovered * slope_other - slope * rest_other) * cosine
        bottom_by_t1 = -(cosine**2) * product * (own + other) / t1**2
        by_t1 = sine * (top_by_t1 - top * bottom_by_t1 / bottom) / bottom
        return x[0] * unit, torch.stack([unit, x[0] * nominal * by_angle, x[0] * by_t1], 1)

    def examine(self, data: Tensor) -> None:
        """Refuse images of which the one after the longer repetition time is the brighter one."""
        first, second = self.acquisition.repetition_time
        short, long = (data[0], data[1]) if first < second else (data[1], data[0])
        _require_mostly(
            short >= long,
            "the image of the longer repetition time is the brighter one",
            "that of the shorter one was excited after the longer recovery, and must be brighter.",
            "Check which image is which: repetition times or files are swapped.",
        )


@final
class DoubleAngleSignal(SignalModel):
    """Two flip angles, one twice the other, after full recovery.

    M0 sin(B1 FA); the ratio of both signals is 2 cos(B1 FA).

    Source: Insko and Bolinger 1993.
    """

    title = "Double angle"
    equation = "M0 * sin(B1*FA)"
    references = ("insko1993",)
    acquisition: DoubleAngle

    def __init__(self, acquisition: DoubleAngle) -> None:
        super().__init__(acquisition, (M0, _transmit_field(math.pi / max(acquisition.flip_angle))))

    def forward(self, x: Tensor) -> Tensor:
        """Signal (contrast, *voxels) of (M0, B1)."""
        return x[0] * torch.sin(x[1] * self._times("flip_angle", x))

    def jacobian(self, x: Tensor) -> Tensor:
        """∂signal/∂(M0, B1)."""
        nominal = self._times("flip_angle", x)
        angle = x[1] * nominal
        return torch.stack([torch.sin(angle), x[0] * nominal * torch.cos(angle)], 1)

    def examine(self, data: Tensor) -> None:
        """Refuse images whose ratio no flip angle makes."""
        first, second = self.acquisition.flip_angle
        single, double = (data[0], data[1]) if first < second else (data[1], data[0])
        _require_mostly(
            double < 2 * single,
            "the image of the double flip angle is more than twice as bright as the other",
            "the ratio of the two is 2 cos of the flip angle.",
            "Check which image is which: flip angles or files are swapped.",
        )


@final
class PhaseEvolution(SignalModel):
    """Complex gradient echoes whose phase advances with the off-resonance; their magnitudes are free.

    S_echo exp(i (phase + 2π B0 TE)), B0 in Hz; a positive B0 turns the phase forward in time. No decay is assumed, so
    that fat, inflow or a magnitude that is missing do no harm.

    Source: Schneider and Glover 1991.

    Args:
        acquisition: at least two echo times.
    """

    title = "Off-resonance from the phase of gradient echoes"
    equation = "S * exp(1j*(phase + 2*pi*B0*TE))"
    references = ("schneider1991",)
    acquisition: MultiEchoGradientEcho

    def __init__(self, acquisition: MultiEchoGradientEcho) -> None:
        amplitudes = tuple(
            Parameter(f"S{i + 1}", "arbitrary", AMPLITUDE, (0.5, 1.5), f"magnitude of echo {i + 1}")
            for i in range(acquisition.contrasts)
        )
        super().__init__(
            acquisition,
            (
                *amplitudes,
                Parameter("B0", "Hz", (-2000.0, 2000.0), (-100.0, 100.0), "off-resonance frequency"),
                Parameter("phase", "rad", (-20.0, 20.0), (0.0, 0.0), "phase at TE = 0"),
            ),
        )
        self.complex_valued, self.non_negative = True, False
        self.may_be_constant = True
        if len(set(acquisition.echo_time)) < len(acquisition.echo_time):
            raise AcquisitionError(
                f"echo times {', '.join(f'{1000 * t:g} ms' for t in acquisition.echo_time)}",
                "some are equal, and between equal echo times no phase evolves.",
                "Give every echo once.",
            )

    def forward(self, x: Tensor) -> Tensor:
        """Signal (contrast, *voxels), complex, of (S of every echo, B0, phase)."""
        te = self._times("echo_time", x)
        return torch.polar(x[:-2], x[-1] + 2 * math.pi * x[-2] * te)

    def jacobian(self, x: Tensor) -> Tensor:
        """∂signal/∂(S of every echo, B0, phase), complex."""
        te = self._times("echo_time", x)
        angle = x[-1] + 2 * math.pi * x[-2] * te
        unit = torch.polar(torch.ones_like(angle), angle)
        signal = x[:-2] * unit
        own = torch.eye(len(te), dtype=unit.dtype, device=x.device).view(
            len(te), len(te), *(1,) * (x.ndim - 1)
        )
        return torch.cat(
            [own * unit[:, None], (2j * math.pi * te * signal)[:, None], (1j * signal)[:, None]], 1
        )

    def start(self, data: Tensor, weights: Tensor | None = None) -> Tensor:
        """Magnitudes as measured, and the weighted line through the unwrapped phases."""
        slope, intercept = self.line(data, weights)
        return self._clamp(torch.cat([data.abs(), torch.stack([slope, intercept])]))

    def line(
        self, data: Tensor, weights: Tensor | None = None, turns: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """B0 and the phase at TE = 0 by the line through the phases of the echoes, unwrapped along TE.

        The two echoes that lie closest (of equally close pairs the first) decide the first guess; each further echo,
        nearest first, is unwrapped to the line through those before. Echoes weigh as the square of their magnitude.

        Args:
            data: (contrast, voxel).
            weights: (contrast, voxel), zero for unusable samples.
            turns: (voxel) whole turns between the two closest echoes that their phases don't show.

        Returns:
            B0 in Hz (voxel), phase in rad (voxel) within half a turn.
        """
        te = self.acquisition.tensor("echo_time", like=data)
        power = data.abs() ** 2 if weights is None else weights * data.abs() ** 2
        phase = data.angle()
        times = self.acquisition.echo_time
        first, second = closest_echoes(times)
        done = [first, second]
        unwrapped = phase.clone()
        unwrapped[second] = phase[first] + (data[second] * data[first].conj()).angle()
        if turns is not None:
            unwrapped[second] = unwrapped[second] + 2 * math.pi * turns
        slope, intercept = weighted_line(te[done], unwrapped[done], power[done])
        for nearest in nearest_first(times, done):
            predicted = intercept + slope * te[nearest]
            turns = torch.round((predicted - phase[nearest]) / (2 * math.pi))
            unwrapped[nearest] = phase[nearest] + 2 * math.pi * turns
            done = [*done, nearest]
            slope, intercept = weighted_line(te[done], unwrapped[done], power[done])
        return slope / (2 * math.pi), torch.remainder(intercept + math.pi, 2 * math.pi) - math.pi


def weighted_line(te: Tensor, phase: Tensor, power: Tensor) -> tuple[Tensor, Tensor]:
    """Slope and intercept of the line through phases over echo times.

    Args:
        te: (contrast,).
        phase: (contrast, voxel), without wraps.
        power: (contrast, voxel) weight of each phase.

    Returns:
        Slope and intercept, (voxel) each.
    """
    tiny = torch.finfo(power.dtype).tiny
    total = power.sum(0).clamp_min(tiny)
    mean_te = (power * te[:, None]).sum(0) / total
    mean = (power * phase).sum(0) / total
    centred = te[:, None] - mean_te
    slope = (power * centred * (phase - mean)).sum(0) / (power * centred**2).sum(0).clamp_min(tiny)
    return slope, mean - slope * mean_te


def _require_mostly(expected: Tensor, read: str, why: str, remedy: str) -> None:
    """Refuse images of which nearly all voxels contradict what physics allows.

    Raises:
        DataError: they do.
    """
    if expected.numel():
        wrong = 1 - float(expected.double().mean())
        if wrong > _SWAPPED_SHARE:
            raise DataError(f"{read} in {100 * wrong:.0f} % of the voxels", why, remedy)
