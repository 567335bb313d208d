"""Closed-form magnetisation transfer: MTR, MTsat, and the joint model of multi-parameter mapping."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, final

import torch
from torch import Tensor

from fastqmri.core import (
    DataError,
    MagnetizationTransferRatio,
    MagnetizationTransferSaturation,
    MultiParameterMapping,
    Parameter,
)
from fastqmri.physics.signal.model import LogLinear, SignalModel, inverse_of, log_start
from fastqmri.physics.signal.relaxometry import AMPLITUDE, B1, M0, T1, T2STAR

_B1_SLOPE = 0.4
_NEWTON_STEPS = 6
_PD = Parameter("PD", "arbitrary", AMPLITUDE, (0.5, 1.5), "proton density times receive gain, at TE = 0")
_MTSAT = Parameter(
    "MTsat", "%", (-10.0, 50.0), (0.2, 5.0), "saturation by the MT pulse within one repetition time"
)

Correction = Literal["semi-empirical", "quadratic", "none"]
CORRECTIONS: tuple[Correction, ...] = ("semi-empirical", "quadratic", "none")


def saturation_scale(b1: Tensor, correction: Correction) -> tuple[Tensor, Tensor]:
    """Saturation at a transmit field over the MTsat that is reported, and its derivative by B1.

    ``semi-empirical``: B1² (1 - 0.4 B1)/(1 - 0.4), so that MTsat is what the nominal field would have made;
    ``quadratic``: B1² alone, which is what nominal flip angles in the formulas of Helms 2008 amount to; ``none``: MTsat
    is the saturation at the field that there was.

    Source: Helms 2008; Weiskopf 2013 (the factor of 0.4).
    """
    if correction == "none":
        return torch.ones_like(b1), torch.zeros_like(b1)
    if correction == "quadratic":
        return b1**2, 2 * b1
    norm = 1 - _B1_SLOPE
    return b1**2 * (1 - _B1_SLOPE * b1) / norm, b1 * (2 - 3 * _B1_SLOPE * b1) / norm


_SCALE_TEXT = {"semi-empirical": "*B1^2*(1 - 0.4*B1)/0.6", "quadratic": "*B1^2", "none": ""}


@final
class TransferRatio(SignalModel):
    """Signal without and with the saturation pulse.

    M0 without it, M0 (1 - MTR/100) with it; MTR in percent.

    Source: Wolff and Balaban 1989.
    """

    title = "Magnetisation transfer ratio"
    equation = "M0 * (1 - MT*MTR/100)"
    references = ("wolff1989",)
    acquisition: MagnetizationTransferRatio

    def __init__(self, acquisition: MagnetizationTransferRatio) -> None:
        ratio = Parameter("MTR", "%", (-100.0, 100.0), (0.0, 60.0), "magnetisation transfer ratio")
        super().__init__(acquisition, (M0, ratio))
        self.may_be_constant = True

    def forward(self, x: Tensor) -> Tensor:
        """Signal (contrast, *voxels) of (M0, MTR)."""
        return x[0] * (1 - self._times("mt_state", x) * x[1] / 100)

    def jacobian(self, x: Tensor) -> Tensor:
        """∂signal/∂(M0, MTR)."""
        on = self._times("mt_state", x)
        return torch.stack([1 - on * x[1] / 100, -on * x[0] / 100], 1)

    def examine(self, data: Tensor) -> None:
        """Refuse images of which those with the pulse are the brighter ones."""
        on = torch.tensor(self.acquisition.mt_state)
        _require_darker(data[on].mean(0), data[~on].mean(0))


@final
class TransferSaturation(SignalModel):
    """Spoiled gradient echoes of small angle, with a saturation of MTsat within each repetition time.

    M0 α TR/T1 / (TR/T1 + α²/2 + δ), α = B1 FA, δ = MTsat/100 times a factor of B1 (`saturation_scale`).

    Source: Helms 2008, the rational approximation; Helms 2008 and Weiskopf 2013 for B1.

    Args:
        acquisition: MT state, flip angle, repetition time of every image.
        correction: how the saturation depends on the transmit field.
    """

    title = "Magnetisation transfer saturation"
    references = ("weiskopf2013", "helms2008")
    acquisition: MagnetizationTransferSaturation

    def __init__(
        self, acquisition: MagnetizationTransferSaturation, correction: Correction = "semi-empirical"
    ) -> None:
        super().__init__(acquisition, (M0, T1, _MTSAT, B1))
        self.correction = correction
        delta = f"MT*MTsat/100{_SCALE_TEXT[correction]}"
        self.equation = f"M0 * B1*FA * (TR/T1) / (TR/T1 + (B1*FA)^2/2 + {delta})"
        self.derived = (inverse_of("R1", "1/s", 1, 4, "longitudinal relaxation rate"),)

    def forward(self, x: Tensor) -> Tensor:
        """Signal (contrast, *voxels) of (M0, T1, MTsat, B1)."""
        m0, t1, b1 = x[0], x[1], x[-1]
        angle = b1 * self._times("flip_angle", x)
        recovery = self._times("repetition_time", x) / t1
        return m0 * angle * recovery / (recovery + angle**2 / 2 + self._saturation(x)[0])

    def jacobian(self, x: Tensor) -> Tensor:
        """∂signal/∂(M0, T1, MTsat, B1)."""
        return self.evaluate(x)[1]

    def evaluate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Signal and Jacobian."""
        m0, t1, b1 = x[0], x[1], x[-1]
        nominal = self._times("flip_angle", x)
        angle = b1 * nominal
        recovery = self._times("repetition_time", x) / t1
        saturation, by_mtsat, by_b1 = self._saturation(x)
        lost = angle**2 / 2 + saturation
        d = 1 / (recovery + lost)
        unit = angle * recovery * d
        by_loss = -m0 * unit * d
        columns = [
            unit,
            -m0 * angle * lost * d * d * recovery / t1,
            by_loss * by_mtsat,
            m0 * nominal * recovery * d + by_loss * (angle * nominal + by_b1),
        ]
        return m0 * unit, torch.stack(columns, 1)

    def examine(self, data: Tensor) -> None:
        """Refuse images of which a saturated one is brighter than the same without the pulse."""
        a = self.acquisition
        settings = list(zip(a.flip_angle, a.repetition_time, strict=True))
        unsaturated = {settings[i]: i for i, on in enumerate(a.mt_state) if not on}
        for i, on in enumerate(a.mt_state):
            if on and settings[i] in unsaturated:
                _require_darker(data[i], data[unsaturated[settings[i]]])

    def _saturation(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """δ of every image, and its derivatives by MTsat and B1."""
        on = self._times("mt_state", x) / 100
        scale, slope = saturation_scale(x[-1], self.correction)
        return on * x[2] * scale, on * scale, on * x[2] * slope


@final
class MultiParameter(SignalModel):
    """All echoes of all weightings together: PD, T1, one T2*, and MTsat.

    PD sin α (1 - E)/(1 - (1 - δ) E cos α) exp(-TE/T2star), E = exp(-TR/T1), α = B1 FA, δ = MTsat/100 times a factor of
    B1 (`saturation_scale`). Ernst's steady state is exact; the saturation acts once a repetition, after the excitation
    (our choice: for small angles and short TR it becomes the approximation of Helms 2008).

    Source: Weiskopf 2014 (one T2* for all weightings); Helms 2008; Weiskopf 2013.

    Args:
        acquisition: MT state, flip angle, repetition time, echo time of every image.
        correction: how the saturation depends on the transmit field.
    """

    title = "Multi-parameter mapping"
    references = ("weiskopf2014", "weiskopf2013", "helms2008", "dathe2010")
    acquisition: MultiParameterMapping

    def __init__(self, acquisition: MultiParameterMapping, correction: Correction = "semi-empirical") -> None:
        saturated = any(acquisition.mt_state)
        super().__init__(acquisition, (_PD, T1, T2STAR, *((_MTSAT,) if saturated else ()), B1))
        self.correction = correction
        self._saturated = saturated
        delta = f"(1 - MT*MTsat/100{_SCALE_TEXT[correction]}) * " if saturated else ""
        self.equation = (
            f"PD * sin(B1*FA) * (1 - exp(-TR/T1)) / (1 - {delta}exp(-TR/T1)*cos(B1*FA)) * exp(-TE/T2star)"
        )
        count = len(self.parameters)
        self.derived = (
            inverse_of("R1", "1/s", 1, count, "longitudinal relaxation rate"),
            inverse_of("R2star", "1/s", 2, count, "effective transverse relaxation rate"),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Signal (contrast, *voxels) of (PD, T1, T2star, MTsat, B1)."""
        steady = _steady_state(
            x[1],
            x[3] if self._saturated else torch.zeros_like(x[0]),
            x[-1],
            self._times("flip_angle", x),
            self._times("repetition_time", x),
            self._times("mt_state", x),
            self.correction,
        )[0]
        return x[0] * steady * torch.exp(-self._times("echo_time", x) / x[2])

    def jacobian(self, x: Tensor) -> Tensor:
        """∂signal/∂(PD, T1, T2star, MTsat, B1)."""
        return self.evaluate(x)[1]

    def evaluate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Signal and Jacobian."""
        te = self._times("echo_time", x)
        steady, by_t1, by_mtsat, by_b1 = _steady_state(
            x[1],
            x[3] if self._saturated else torch.zeros_like(x[0]),
            x[-1],
            self._times("flip_angle", x),
            self._times("repetition_time", x),
            self._times("mt_state", x),
            self.correction,
        )
        decay = torch.exp(-te / x[2])
        amplitude = x[0] * decay
        signal = amplitude * steady
        columns = [decay * steady, amplitude * by_t1, signal * te / x[2] ** 2]
        if self._saturated:
            columns.append(amplitude * by_mtsat)
        columns.append(amplitude * by_b1)
        return signal, torch.stack(columns, 1)

    def start(self, data: Tensor, weights: Tensor | None = None) -> Tensor:
        """Decay and amplitudes from the logarithms, then the steady states of two or three weightings solved."""
        structure = self._log_linear(self._chosen(), {})
        return self._clamp(self._with_b1(log_start(structure, data, weights)))

    def log_linear(self, known: Mapping[str, Tensor] | None = None) -> LogLinear | None:
        """ln signal of every weighting at TE = 0, and R2star in units of the longest echo time, are the unknowns.

        Only for two weightings without the pulse and at most one with it: then as many numbers as (PD, T1, MTsat).
        """
        chosen = self._chosen()
        return (
            self._log_linear(chosen, known or {}) if len(chosen) == len(self.acquisition.weightings) else None
        )

    def _chosen(self) -> list[int]:
        """Weightings that determine the steady state: the two most different without the pulse, one with it."""
        rows = self.acquisition.weightings
        unsaturated = [i for i, (on, _, _) in enumerate(rows) if not on]
        unsaturated.sort(key=lambda i: rows[i][2] / rows[i][1] ** 2)
        return [unsaturated[-1], unsaturated[0], *[i for i, (on, _, _) in enumerate(rows) if on][:1]]

    def _log_linear(self, chosen: list[int], known: Mapping[str, Tensor]) -> LogLinear:
        te = self.acquisition.tensor("echo_time")
        longest = te.max()
        amplitudes = torch.eye(len(self.acquisition.weightings), dtype=torch.float64)[
            list(self.acquisition.weighting_of)
        ]

        def to_parameters(beta: Tensor) -> tuple[Tensor, Tensor]:
            rate = (beta[-1] / longest).clamp_min(1e-9)
            b1 = known["B1"].to(beta) if "B1" in known else torch.ones_like(rate)
            x, by_log = self._solve(beta[chosen].exp(), b1)
            count = len(beta)
            rows = [torch.zeros((count, *rate.shape), dtype=beta.dtype, device=beta.device) for _ in x]
            for row, values in zip(rows, by_log, strict=True):
                for column, value in zip(chosen, values, strict=True):
                    row[column] = value
            decay = torch.zeros_like(rows[0])
            decay[-1] = -1 / (rate**2 * longest)
            return (
                torch.stack([x[0], x[1], 1 / rate, *x[2:]]),
                torch.stack([rows[0], rows[1], decay, *rows[2:]]),
            )

        return LogLinear(torch.cat([amplitudes, -(te / longest)[:, None]], 1), to_parameters)

    def _solve(self, amplitudes: Tensor, b1: Tensor) -> tuple[list[Tensor], list[list[Tensor]]]:
        """(PD, T1, MTsat) of the signals of the chosen weightings at TE = 0, and derivatives by their logarithms.

        With τ = tan α/2 and ρ = tanh TR/2T1 the steady state is PD 2τρ/(ρ + τ²): the two signals without the pulse
        give one equation in T1 that is almost linear, exactly so in coth TR/2T1 where both have the same TR.

        Source: Dathe and Helms 2010 (the half-angle form).
        """
        rows = [self.acquisition.weightings[i] for i in self._chosen()]
        tau = [torch.tan(b1 * angle / 2) for _, angle, _ in rows]
        half = [repetition / 2 for _, _, repetition in rows]
        a, b = amplitudes[0], amplitudes[1]
        low, high = self.parameters[1].bounds
        # a/2τ_a (1 + τ_a² coth_a) = b/2τ_b (1 + τ_b² coth_b)
        constant = a / tau[0] - b / tau[1]
        slopes = (a * tau[0], -b * tau[1])
        t1 = -constant / (slopes[0] / half[0] + slopes[1] / half[1])
        t1 = torch.where(t1 > 0, t1, torch.full_like(t1, high)).clamp(low, high)
        for _ in range(_NEWTON_STEPS):
            value, slope = constant, torch.zeros_like(t1)
            for s, h in zip(slopes, half, strict=False):
                tanh = torch.tanh(h / t1)
                value = value + s / tanh
                slope = slope + s * (1 - tanh**2) / tanh**2 * h / t1**2
            t1 = (t1 - value / torch.where(slope.abs() > 0, slope, torch.ones_like(slope))).clamp(low, high)
        zero = torch.zeros_like(t1)

        def unit(i: int, mtsat: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
            on, angle, repetition = (t1.new_tensor(float(value)) for value in rows[i])
            return _steady_state(t1, mtsat, b1, angle, repetition, on, self.correction)

        first, second = unit(0, zero), unit(1, zero)
        pd = a / first[0]
        # d ln PD + (∂ ln u/∂T1) dT1 = d ln S for both
        p, q = first[1] / first[0], second[1] / second[0]
        gap = torch.where(q == p, torch.full_like(p, 1e-300), q - p)
        by_log = [[pd * q / gap, -pd * p / gap], [-1 / gap, 1 / gap]]
        if not self._saturated:
            return [pd, t1], by_log
        _, angle, repetition = rows[2]
        rest = torch.exp(-repetition / t1)
        cosine = torch.cos(b1 * angle)
        steady = pd * torch.sin(b1 * angle) * -torch.expm1(-repetition / t1) / amplitudes[2]
        scale = saturation_scale(b1, self.correction)[0]
        mtsat = 100 * (1 - (1 - steady) / (rest * cosine)) / scale
        third = unit(2, mtsat)
        r, m = third[1] / third[0], third[2] / third[0]
        # ln S3 = ln PD + ln u3(T1, MTsat)
        by_mtsat = [(-by_log[0][k] / pd - r * by_log[1][k]) / m for k in range(2)]
        return [pd, t1, mtsat], [
            [*by_log[0], zero],
            [*by_log[1], zero],
            [*by_mtsat, 1 / m],
        ]

    def _with_b1(self, estimated: Tensor) -> Tensor:
        return torch.cat([estimated, torch.ones_like(estimated[:1])])


def _steady_state(
    t1: Tensor,
    mtsat: Tensor,
    b1: Tensor,
    nominal: Tensor,
    repetition: Tensor,
    on: Tensor,
    correction: Correction,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """sin α (1 - E)/(1 - (1 - δ) E cos α), and its derivatives by T1, MTsat and B1."""
    scale, slope = saturation_scale(b1, correction)
    delta = on * mtsat * scale / 100
    angle = b1 * nominal
    sine, cosine = torch.sin(angle), torch.cos(angle)
    recovered = -torch.expm1(-repetition / t1)
    rest = 1 - recovered
    # 1 - (1 - δ) E cos α without cancellation
    versine = 2 * torch.sin(angle / 2) ** 2 + delta * cosine
    d = 1 / (recovered + rest * versine)
    unit = sine * recovered * d
    by_delta = -unit * rest * cosine * d
    by_t1 = -sine * versine * d * d * rest * repetition / t1**2
    by_angle = cosine * recovered * d - unit * d * rest * (1 - delta) * sine
    return (
        unit,
        by_t1,
        by_delta * on * scale / 100,
        by_angle * nominal + by_delta * on * mtsat * slope / 100,
    )


def _require_darker(saturated: Tensor, unsaturated: Tensor) -> None:
    """Refuse a saturated image that is brighter than the one without the pulse in nearly all voxels.

    Raises:
        DataError: the MT states are swapped.
    """
    if not saturated.numel():
        return
    brighter = float((saturated > unsaturated).double().mean())
    if brighter > 0.9:
        raise DataError(
            f"the image with the MT pulse is the brighter one in {100 * brighter:.0f} % of the voxels",
            "the pulse only ever saturates.",
            "Check which image is which: MT states or files are swapped.",
        )
