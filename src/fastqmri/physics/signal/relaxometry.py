"""Closed-form relaxometry: spoiled gradient echo, inversion recovery, Look-Locker, exponential decays."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, final

import torch
from torch import Tensor

from fastqmri.core import (
    InversionRecovery,
    LookLocker,
    MultiEchoGradientEcho,
    MultiEchoSpinEcho,
    Parameter,
    VariableFlipAngle,
    WeightedGradientEcho,
)
from fastqmri.physics.signal.echoes import closest_echoes
from fastqmri.physics.signal.model import LogLinear, Separable, SignalModel, inverse_of, log_start

AMPLITUDE = (0.0, 1e12)
M0 = Parameter(
    "M0", "arbitrary", AMPLITUDE, (0.5, 1.5), "signal at full magnetisation, receive gain included"
)
T1 = Parameter("T1", "s", (0.005, 10.0), (0.05, 5.0), "longitudinal relaxation time")
T2 = Parameter("T2", "s", (0.001, 5.0), (0.005, 2.5), "transverse relaxation time")
T2STAR = Parameter("T2star", "s", (0.0005, 1.0), (0.002, 0.3), "effective transverse relaxation time")
B1 = Parameter(
    "B1", "fraction", (0.1, 3.0), (0.7, 1.3), "transmit field (B1+), fraction of nominal", nominal=1.0
)


@final
class SpoiledGradientEcho(SignalModel):
    """Steady state of a perfectly spoiled gradient echo at several flip angles.

    M0 sin(B1 α) (1 - E) / (1 - E cos(B1 α)), E = exp(-TR/T1).

    Source: Deoni 2003, with the flip angle scaled by B1+; Zhu 2023, Table 1.
    """

    title = "Spoiled gradient echo, variable flip angle"
    equation = "M0 * sin(B1*FA) * (1 - exp(-TR/T1)) / (1 - exp(-TR/T1) * cos(B1*FA))"
    references = ("deoni2003", "zhu2023")
    acquisition: VariableFlipAngle

    def __init__(self, acquisition: VariableFlipAngle) -> None:
        super().__init__(acquisition, (M0, T1, B1))
        self.derived = (inverse_of("R1", "1/s", 1, 3, "longitudinal relaxation rate"),)

    def forward(self, x: Tensor) -> Tensor:
        """Signal (contrast, *voxels) of (M0, T1, B1)."""
        m0, t1, b1 = x
        angle = b1 * self._times("flip_angle", x)
        recovered, denominator = self._steady_state(t1, angle)
        return m0 * torch.sin(angle) * recovered / denominator

    def jacobian(self, x: Tensor) -> Tensor:
        """∂signal/∂(M0, T1, B1)."""
        return self.evaluate(x)[1]

    def evaluate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Signal and Jacobian."""
        m0, t1, b1 = x
        nominal = self._times("flip_angle", x)
        angle = b1 * nominal
        tr = self.acquisition.repetition_time
        recovered, denominator = self._steady_state(t1, angle)
        sin, d = torch.sin(angle), 1 / denominator
        versine = 2 * torch.sin(angle / 2) ** 2
        unit = sin * recovered * d
        by_t1 = -m0 * sin * versine * d * d * ((1 - recovered) * tr / t1**2)
        by_b1 = m0 * recovered * (recovered - versine) * d * d * nominal
        return m0 * unit, torch.stack([unit, by_t1, by_b1], 1)

    def _steady_state(self, t1: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
        """1 - E and 1 - E cos α without cancellation: float32 is exact also for TR << T1 and small angles."""
        recovered = -torch.expm1(-self.acquisition.repetition_time / t1)
        return recovered, recovered + (1 - recovered) * 2 * torch.sin(angle / 2) ** 2

    def separable(self) -> Separable:
        """a sin/(1 - E cos), E = exp(-TR/T1), a = M0 (1 - E)."""
        tr = self.acquisition.repetition_time
        angles = self.acquisition.tensor("flip_angle")

        def to_parameters(z: Tensor) -> tuple[Tensor, Tensor]:
            a, e = z
            t1 = -tr / torch.log(e)
            zero = torch.zeros_like(a)
            g = torch.stack(
                [
                    torch.stack([1 / (1 - e), a / (1 - e) ** 2]),
                    torch.stack([zero, t1**2 / (tr * e)]),
                ]
            )
            return torch.stack([a / (1 - e), t1]), g

        bounds = tuple(math.exp(-tr / t) for t in T1.bounds)
        return Separable(
            "rational",
            torch.stack([torch.sin(angles), torch.cos(angles)]),
            False,
            (bounds[0], bounds[1]),
            to_parameters,
            angles=angles,
            scale="B1",
        )


@final
class InversionRecoverySignal(SignalModel):
    """Recovery after an inversion.

    Three parameters: M0 (1 - κ exp(-TI/T1)); κ, the inversion factor, is 2 for a perfect inversion after full
    recovery, and takes up imperfect pulses and a short TR. Two parameters: κ is fixed by a perfect inversion,
    M0 (1 - 2 exp(-TI/T1) + exp(-TR/T1)). Magnitude images are the absolute value; their polarity is restored by
    the fit. Complex images carry a phase per voxel.

    Source: Barral 2010.

    Args:
        acquisition: inversion times (and the repetition time, for two parameters).
        signal: what the images hold.
        inversion: ``free`` fits κ, ``perfect`` does not.
    """

    title = "Inversion recovery"
    references = ("barral2010", "zhu2023")
    acquisition: InversionRecovery

    def __init__(
        self,
        acquisition: InversionRecovery,
        signal: Literal["magnitude", "real", "complex"] = "magnitude",
        inversion: Literal["free", "perfect"] = "free",
    ) -> None:
        factor = Parameter("inversion_factor", "1", (0.2, 3.0), (1.0, 2.0), "κ: 2 for a perfect inversion")
        phase = Parameter("phase", "rad", (-20.0, 20.0), (0.0, 0.0), "phase of the recovered signal")
        parameters = (M0, T1) + ((factor,) if inversion == "free" else ())
        super().__init__(acquisition, parameters + ((phase,) if signal == "complex" else ()))
        self.signal, self.inversion = signal, inversion
        self.complex_valued = signal == "complex"
        self.non_negative = signal == "magnitude"
        tr = acquisition.repetition_time
        self._full_recovery = tr is None
        self._tr = math.inf if tr is None else tr
        bracket = (
            "(1 - inversion_factor*exp(-TI/T1))"
            if inversion == "free"
            else "(1 - 2*exp(-TI/T1))"
            if self._full_recovery
            else "(1 - 2*exp(-TI/T1) + exp(-TR/T1))"
        )
        self.equation = {
            "magnitude": f"abs(M0 * {bracket})",
            "real": f"M0 * {bracket}",
            "complex": f"M0 * {bracket} * exp(1j*phase)",
        }[signal]
        self.derived = (inverse_of("R1", "1/s", 1, len(self.parameters), "longitudinal relaxation rate"),)

    def forward(self, x: Tensor) -> Tensor:
        """Signal (contrast, *voxels)."""
        real = x[0] * self._recovery(x)[0]
        if self.signal == "magnitude":
            return real.abs()
        return real * torch.exp(1j * x[-1]) if self.complex_valued else real

    def jacobian(self, x: Tensor) -> Tensor:
        """∂signal/∂x; for magnitudes that of the branch the voxel is on."""
        return self.evaluate(x)[1]

    def evaluate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Signal and Jacobian."""
        m0 = x[0]
        bracket, columns = self._recovery(x)
        signal = m0 * bracket
        jacobian = torch.stack([bracket, *(m0 * c for c in columns)], 1)
        if self.signal == "magnitude":
            sign = torch.where(signal < 0, -1.0, 1.0).to(signal)
            return signal.abs(), jacobian * sign[:, None]
        if self.complex_valued:
            rotation = torch.exp(1j * x[-1])
            signal = signal * rotation
            return signal, torch.cat([jacobian * rotation, (1j * signal)[:, None]], 1)
        return signal, jacobian

    def _recovery(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Recovered fraction of M0, and its derivatives by T1 (and κ)."""
        t1, ti = x[1], self._times("inversion_time", x)
        e = torch.exp(-ti / t1)
        if self.inversion == "free":
            return 1 - x[2] * e, [-x[2] * e * ti / t1**2, -e]
        if self._full_recovery:
            return 1 - 2 * e, [-2 * e * ti / t1**2]
        recovered = torch.exp(-self._tr / t1)
        return 1 - 2 * e + recovered, [(-2 * e * ti + recovered * self._tr) / t1**2]

    def signed(self) -> SignalModel | None:
        """The model with its polarity, for magnitudes."""
        if self.signal != "magnitude":
            return None
        return InversionRecoverySignal(self.acquisition, "real", self.inversion)

    def start(self, data: Tensor, weights: Tensor | None = None) -> Tensor:
        """Dictionary match; the phase of complex data from the last (most recovered) image, give or take a half turn.

        A T1 so long that even the last image lies before the null gives that image the opposite sign: both are
        tried, and the better match holds.
        """
        if not self.complex_valued:
            return super().start(data, weights)
        last = int(self.acquisition.tensor("inversion_time").argmax())
        phase = data[last].angle()
        real = InversionRecoverySignal(self.acquisition, "real", self.inversion)
        rotated = (data * torch.exp(-1j * phase)).real
        starts, misfits = [], []
        for sign, turn in ((1, 0.0), (-1, math.pi)):
            x = real.start(sign * rotated, weights)
            misfit = (sign * rotated - real(x)) ** 2
            misfits.append((misfit if weights is None else weights * misfit).sum(0))
            starts.append(torch.cat([x, phase[None] + turn]))
        return torch.where(misfits[1] < misfits[0], starts[1], starts[0])

    def separable(self) -> Separable | None:
        """c + a exp(-TI/T1): M0 = c, κ = -a/c. Only for signed data and free κ."""
        if self.inversion == "perfect" or self.complex_valued:
            return None

        def to_parameters(z: Tensor) -> tuple[Tensor, Tensor]:
            c, a, r = z
            zero, one = torch.zeros_like(c), torch.ones_like(c)
            g = torch.stack(
                [
                    torch.stack([one, zero, zero]),
                    torch.stack([zero, zero, -1 / r**2]),
                    torch.stack([a / c**2, -1 / c, zero]),
                ]
            )
            return torch.stack([c, 1 / r, -a / c]), g

        times = self.acquisition.tensor("inversion_time")
        return Separable(
            "exponential", times[None], True, (1 / T1.bounds[1], 1 / T1.bounds[0]), to_parameters
        )


@final
class LookLockerSignal(SignalModel):
    """Recovery under repeated small-angle readouts, towards a driven steady state.

    Mss - (Mss + M0) exp(-t/T1star), with Mss = M0 T1star/T1.

    Source: Look and Locker 1970; Zhu 2023, Table 1 (with R1star = 1/T1star).

    Args:
        acquisition: times since the inversion.
        signal: what the images hold; the polarity of magnitudes is restored by the fit.
    """

    title = "Look-Locker inversion recovery"
    references = ("look1970", "zhu2023")
    acquisition: LookLocker

    def __init__(self, acquisition: LookLocker, signal: Literal["magnitude", "real"] = "magnitude") -> None:
        t1star = Parameter("T1star", "s", (0.005, 10.0), (0.05, 3.0), "apparent recovery time under readout")
        super().__init__(acquisition, (M0, T1, t1star))
        self.signal = signal
        self.non_negative = signal == "magnitude"
        body = "M0 * (T1star/T1 - (T1star/T1 + 1) * exp(-TI/T1star))"
        self.equation = f"abs({body})" if self.non_negative else body
        self.derived = (inverse_of("R1", "1/s", 1, 3, "longitudinal relaxation rate"),)

    def forward(self, x: Tensor) -> Tensor:
        """Signal (contrast, *voxels) of (M0, T1, T1star)."""
        return self.evaluate(x)[0]

    def jacobian(self, x: Tensor) -> Tensor:
        """∂signal/∂(M0, T1, T1star); for magnitudes that of the branch the voxel is on."""
        return self.evaluate(x)[1]

    def evaluate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Signal and Jacobian."""
        m0, t1, t1star = x
        t = self._times("inversion_time", x)
        e, ratio = torch.exp(-t / t1star), t1star / t1
        unit = ratio - (ratio + 1) * e
        by_t1 = -m0 * ratio / t1 * (1 - e)
        by_t1star = m0 * ((1 - e) / t1 - (ratio + 1) * e * t / t1star**2)
        signal, jacobian = m0 * unit, torch.stack([unit, by_t1, by_t1star], 1)
        if self.signal == "real":
            return signal, jacobian
        sign = torch.where(signal < 0, -1.0, 1.0).to(signal)
        return signal.abs(), jacobian * sign[:, None]

    def signed(self) -> SignalModel | None:
        """The model with its polarity, for magnitudes."""
        return LookLockerSignal(self.acquisition, "real") if self.signal == "magnitude" else None

    def separable(self) -> Separable:
        """c + a exp(-t/T1star): M0 = -(a + c), T1 = T1star M0/c."""

        def to_parameters(z: Tensor) -> tuple[Tensor, Tensor]:
            c, a, r = z
            m0 = -(a + c)
            zero, one = torch.zeros_like(c), torch.ones_like(c)
            g = torch.stack(
                [
                    torch.stack([-one, -one, zero]),
                    torch.stack([a / (r * c**2), -1 / (r * c), -m0 / (c * r**2)]),
                    torch.stack([zero, zero, -1 / r**2]),
                ]
            )
            return torch.stack([m0, m0 / (c * r), 1 / r]), g

        times = self.acquisition.tensor("inversion_time")
        return Separable("exponential", times[None], True, (0.1, 200.0), to_parameters)


@final
class ExponentialDecay(SignalModel):
    """Mono-exponential decay of spin echoes (T2) or gradient echoes (T2*).

    M0 exp(-TE/T), or M0 exp(-TE/T) + offset, the offset standing for a noise floor.

    Source: Zhu 2023, Table 1.

    Args:
        acquisition: spin echoes give T2, gradient echoes T2star.
        offset: fit a constant floor too.
    """

    title = "Mono-exponential decay"
    references = ("zhu2023",)
    acquisition: MultiEchoSpinEcho | MultiEchoGradientEcho

    def __init__(self, acquisition: MultiEchoSpinEcho | MultiEchoGradientEcho, offset: bool = False) -> None:
        self._time = T2 if isinstance(acquisition, MultiEchoSpinEcho) else T2STAR
        floor = Parameter("offset", "arbitrary", (-1e12, 1e12), (0.0, 0.1), "constant floor under the decay")
        super().__init__(acquisition, (M0, self._time) + ((floor,) if offset else ()))
        self.offset = offset
        name = self._time.name
        self.equation = f"M0 * exp(-TE/{name})" + (" + offset" if offset else "")
        rate = name.replace("T", "R", 1)
        self.derived = (inverse_of(rate, "1/s", 1, len(self.parameters), f"rate, 1/{name}"),)

    def forward(self, x: Tensor) -> Tensor:
        """Signal (contrast, *voxels)."""
        decay = x[0] * torch.exp(-self._times("echo_time", x) / x[1])
        return decay + x[2] if self.offset else decay

    def jacobian(self, x: Tensor) -> Tensor:
        """∂signal/∂x."""
        te = self._times("echo_time", x)
        e = torch.exp(-te / x[1])
        columns = [e, x[0] * e * te / x[1] ** 2]
        return torch.stack([*columns, torch.ones_like(e)] if self.offset else columns, 1)

    def start(self, data: Tensor, weights: Tensor | None = None) -> Tensor:
        """Dictionary match; a floor starts at zero."""
        if not self.offset:
            return super().start(data, weights)
        x = ExponentialDecay(self.acquisition).start(data, weights)
        return torch.cat([x, torch.zeros_like(x[:1])])

    def separable(self) -> Separable:
        """[offset +] M0 exp(-R TE), T = 1/R."""
        offset = self.offset

        def to_parameters(z: Tensor) -> tuple[Tensor, Tensor]:
            r = z[-1]
            zero, one = torch.zeros_like(r), torch.ones_like(r)
            if not offset:
                g = torch.stack([torch.stack([one, zero]), torch.stack([zero, -1 / r**2])])
                return torch.stack([z[0], 1 / r]), g
            g = torch.stack(
                [
                    torch.stack([zero, one, zero]),
                    torch.stack([zero, zero, -1 / r**2]),
                    torch.stack([one, zero, zero]),
                ]
            )
            return torch.stack([z[1], 1 / r, z[0]]), g

        times = self.acquisition.tensor("echo_time")
        low, high = self._time.bounds
        return Separable("exponential", times[None], offset, (1 / high, 1 / low), to_parameters)


@final
class SharedDecay(SignalModel):
    """One T2* behind the echoes of several weightings (ESTATICS).

    M0_w exp(-TE/T2star), w the weighting of the image. All images together determine T2star much better than each
    weighting alone.

    Source: Weiskopf 2014.
    """

    title = "Decay shared by several weightings"
    equation = "M0_weighting * exp(-TE/T2star)"
    references = ("weiskopf2014",)
    acquisition: WeightedGradientEcho

    def __init__(self, acquisition: WeightedGradientEcho) -> None:
        self._names = tuple(dict.fromkeys(acquisition.weighting))
        amplitudes = tuple(
            Parameter(f"M0{name}", "arbitrary", AMPLITUDE, (0.5, 1.5), f"{name} signal at TE = 0")
            for name in self._names
        )
        super().__init__(acquisition, (*amplitudes, T2STAR))
        count = len(self.parameters)
        self.derived = (
            inverse_of("R2star", "1/s", count - 1, count, "effective transverse relaxation rate"),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Signal (contrast, *voxels) of (M0 of every weighting, T2star)."""
        return x[self._rows()] * torch.exp(-self._times("echo_time", x) / x[-1])

    def jacobian(self, x: Tensor) -> Tensor:
        """∂signal/∂(M0 of every weighting, T2star)."""
        te = self._times("echo_time", x)
        unit = torch.exp(-te / x[-1])
        chosen = torch.eye(len(self._names), dtype=x.dtype, device=x.device)[self._rows()]
        chosen = chosen.view(*chosen.shape, *(1,) * (x.ndim - 1))
        by_time = x[self._rows()] * unit * te / x[-1] ** 2
        return torch.cat([chosen * unit[:, None], by_time[:, None]], 1)

    def start(self, data: Tensor, weights: Tensor | None = None) -> Tensor:
        """Ordinary least squares of the logarithms."""
        return self._clamp(log_start(self.log_linear(), data, weights))

    def log_linear(self, known: Mapping[str, Tensor] | None = None) -> LogLinear:
        """ln M0 of every weighting, and R2star in units of the longest echo time, are the unknowns."""
        te = self.acquisition.tensor("echo_time")
        longest = te.max()
        amplitudes = torch.eye(len(self._names), dtype=torch.float64)[self._rows()]

        def to_parameters(beta: Tensor) -> tuple[Tensor, Tensor]:
            rate = (beta[-1] / longest).clamp_min(1e-9)
            x = torch.cat([beta[:-1].exp(), 1 / rate[None]])
            diagonal = torch.cat([beta[:-1].exp(), (-1 / (rate**2 * longest))[None]])
            return x, torch.diag_embed(diagonal.T).permute(1, 2, 0)

        return LogLinear(torch.cat([amplitudes, -(te / longest)[:, None]], 1), to_parameters)

    def _rows(self) -> list[int]:
        """Row of the amplitude of every image."""
        return [self._names.index(name) for name in self.acquisition.weighting]


@final
class BiexponentialDecay(SignalModel):
    """Two decaying compartments.

    M0 (f exp(-TE/T2short) + (1 - f) exp(-TE/T2long)).

    Source: Zhu 2023, Table 1 (mono-exponential), summed over two compartments.
    """

    title = "Bi-exponential decay"
    equation = "M0 * (f*exp(-TE/T2short) + (1 - f)*exp(-TE/T2long))"
    references = ("zhu2023",)
    acquisition: MultiEchoSpinEcho | MultiEchoGradientEcho

    def __init__(self, acquisition: MultiEchoSpinEcho | MultiEchoGradientEcho) -> None:
        super().__init__(
            acquisition,
            (
                M0,
                Parameter("f", "1", (0.0, 1.0), (0.05, 0.6), "fraction of the short compartment"),
                Parameter(
                    "T2short", "s", (0.001, 0.05), (0.005, 0.04), "decay time of the short compartment"
                ),
                Parameter("T2long", "s", (0.05, 5.0), (0.05, 0.5), "decay time of the long compartment"),
            ),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Signal (contrast, *voxels) of (M0, f, T2short, T2long)."""
        return self.evaluate(x)[0]

    def jacobian(self, x: Tensor) -> Tensor:
        """∂signal/∂(M0, f, T2short, T2long)."""
        return self.evaluate(x)[1]

    def evaluate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Signal and Jacobian."""
        m0, f, short, long = x
        te = self._times("echo_time", x)
        a, b = torch.exp(-te / short), torch.exp(-te / long)
        unit = f * a + (1 - f) * b
        columns = [unit, m0 * (a - b), m0 * f * a * te / short**2, m0 * (1 - f) * b * te / long**2]
        return m0 * unit, torch.stack(columns, 1)


@final
class ComplexGradientEcho(SignalModel):
    """Complex multi-echo gradient echo: T2*, off-resonance, phase.

    M0 exp(-TE/T2star + i (phase + 2π B0 TE)), B0 in Hz; a positive B0 turns the phase forward in time.

    Source: Zhu 2023, Table 1.
    """

    title = "Complex multi-echo gradient echo"
    equation = "M0 * exp(-TE/T2star + 1j*(phase + 2*pi*B0*TE))"
    references = ("zhu2023",)
    acquisition: MultiEchoGradientEcho

    def __init__(self, acquisition: MultiEchoGradientEcho) -> None:
        super().__init__(
            acquisition,
            (
                M0,
                T2STAR,
                Parameter("B0", "Hz", (-2000.0, 2000.0), (-100.0, 100.0), "off-resonance frequency"),
                Parameter("phase", "rad", (-20.0, 20.0), (0.0, 0.0), "phase at TE = 0"),
            ),
        )
        self.complex_valued, self.non_negative = True, False
        self.derived = (inverse_of("R2star", "1/s", 1, 4, "effective transverse relaxation rate"),)

    def forward(self, x: Tensor) -> Tensor:
        """Signal (contrast, *voxels), complex, of (M0, T2star, B0, phase)."""
        te = self._times("echo_time", x)
        return x[0] * torch.exp(torch.complex(-te / x[1], x[3] + 2 * math.pi * x[2] * te))

    def jacobian(self, x: Tensor) -> Tensor:
        """∂signal/∂(M0, T2star, B0, phase), complex."""
        te = self._times("echo_time", x)
        unit = torch.exp(torch.complex(-te / x[1], x[3] + 2 * math.pi * x[2] * te))
        signal = x[0] * unit
        return torch.stack([unit, signal * te / x[1] ** 2, 2j * math.pi * te * signal, 1j * signal], 1)

    def start(self, data: Tensor, weights: Tensor | None = None) -> Tensor:
        """Decay from the magnitudes, B0 from the phase advance between successive echoes."""
        decay = ExponentialDecay(self.acquisition).start(data.abs(), weights)
        te = self.acquisition.tensor("echo_time", like=data.real)
        first, second = closest_echoes(self.acquisition.echo_time)
        advance = data[second] * data[first].conj()
        b0 = advance.angle() / (2 * math.pi * (te[second] - te[first]))
        phase = (data * torch.exp(-2j * math.pi * b0 * te[:, None])).sum(0).angle()
        return self._clamp(torch.stack([decay[0], decay[1], b0, phase]))
