"""Closed forms of quantitative magnetisation transfer: free water and a semi-solid pool.

F is the ratio of the pools, M0r/M0f; kr the rate from the semi-solid (restricted) pool to the free one, kf = kr F the
way back. R1 is the observed relaxation rate, from which that of free water follows.
"""

from __future__ import annotations

import functools
import math
import operator
from abc import abstractmethod
from typing import Any, ClassVar, Literal, final

import torch
from torch import Tensor

from fastqmri.core import (
    AcquisitionError,
    BalancedMagnetizationTransfer,
    Parameter,
    QuantitativeMagnetizationTransfer,
)
from fastqmri.physics.signal import jets, pulse_shapes
from fastqmri.physics.signal.jets import Jet, Quantity
from fastqmri.physics.signal.lineshapes import absorption, absorption_with_slopes
from fastqmri.physics.signal.model import Derived, SignalModel
from fastqmri.physics.signal.relaxometry import B1, M0

R1R = 1.0
"""1/s: the semi-solid pool's own longitudinal relaxation, which such experiments can't tell."""
PRODUCT = 0.055
"""R1f T2f where T2f is not fitted."""
ON_RESONANCE = 1.2524e-5 / 12e-6
"""G/T2r at the centre of a tissue's lineshape; the bridged super-Lorentzian would give 1.167."""
_LEAST_RATE = 0.05
_SAMPLES = 1000

F = Parameter("F", "1", (1e-4, 0.5), (0.01, 0.25), "pool size ratio, M0r/M0f")
KR = Parameter("kr", "1/s", (1.0, 100.0), (10.0, 60.0), "exchange rate from the semi-solid pool to water")
T2F = Parameter("T2f", "s", (0.003, 0.5), (0.015, 0.1), "T2 of free water")
T2F_MEASURED = Parameter(
    "T2f", "s", T2F.bounds, T2F.prior, "T2 of free water, measured elsewhere", nominal=PRODUCT
)
T2R = Parameter("T2r", "s", (3e-6, 5e-5), (7e-6, 1.6e-5), "T2 of the semi-solid pool")
R1 = Parameter("R1", "1/s", (0.05, 5.0), (0.3, 1.5), "observed longitudinal relaxation rate", nominal=1.0)
B0 = Parameter(
    "B0",
    "Hz",
    (-1000.0, 1000.0),
    (-50.0, 50.0),
    "frequency of the local water above the scanner's",
    nominal=0.0,
)
UNSATURATED = Parameter(
    "M0", "arbitrary", (0.0, 1e12), (0.5, 1.5), "signal without saturation pulse", nominal=1.0
)


def free_rate(f: Quantity, kr: Quantity, r1: Quantity) -> Quantity:
    """R1f of water: R1 - kf (R1r - R1)/(R1r - R1 + kr), 1/s; at least 0.05.

    Source: Henkelman 1993, solved for the free pool.
    """
    apart = R1R - r1
    return jets.floored(r1 - f * kr * apart / jets.floored(apart + kr, _LEAST_RATE), _LEAST_RATE)


def _absorbed(kind: str, offset: Quantity, t2: Quantity) -> Quantity:
    if isinstance(offset, Jet) and isinstance(t2, Jet):
        value, by_t2, by_offset = absorption_with_slopes(kind, offset.value, t2.value)
        return Jet(value, by_t2 * t2.slope + by_offset * offset.slope)
    assert isinstance(offset, Tensor)
    assert isinstance(t2, Tensor)
    return absorption(kind, offset, t2)


class _TwoPools(SignalModel):
    """What the closed forms share: one formula for the signal gives the Jacobian too.

    Steady states of short repetition times are quotients of small differences: all is computed in double precision.
    """

    @abstractmethod
    def _formula(self, *rows: Quantity) -> Quantity:
        """Signal per unit amplitude, (contrast, *voxels), of the rows (1, *voxels) behind it."""

    def forward(self, x: Tensor) -> Tensor:
        """Signal (contrast, *voxels)."""
        wide = x.double()
        signal = self._formula(*(wide[i : i + 1] for i in range(1, len(x))))
        assert isinstance(signal, Tensor)
        return (wide[0] * signal).to(x.dtype)

    def jacobian(self, x: Tensor) -> Tensor:
        """∂signal/∂x."""
        return self.evaluate(x)[1]

    def evaluate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Signal and Jacobian."""
        wide = x.double()
        signal = self._formula(*jets.seeds(wide[1:]))
        assert isinstance(signal, Jet)
        slopes = (wide[0] * signal.slope).expand(len(x) - 1, *signal.value.shape)
        jacobian = torch.cat([signal.value[:, None], slopes.movedim(0, 1)], 1)
        return (wide[0] * signal.value).to(x.dtype), jacobian.to(x.dtype)

    def start(self, data: Tensor, weights: Tensor | None = None) -> Tensor:
        """The values that other programs start from; the amplitude by projection."""
        fixed = {"F": 0.16, "kr": 30.0, "T2f": 0.03, "T2r": 13e-6}
        column = torch.tensor(
            [1.0, *(fixed.get(p.name, p.nominal or 0.0) for p in self.parameters[1:])], dtype=data.dtype
        )
        x = column[:, None].expand(-1, data.shape[1]).clone()
        if self.parameters[0].nominal is None:
            atom = self.forward(x[:, :1])
            used = torch.ones_like(data) if weights is None else weights.to(data)
            x[0] = (used * atom * data).sum(0) / (used * atom * atom).sum(0).clamp_min(1e-300)
        return self._clamp(x)

    def _rate_of_exchange(self) -> Derived:
        """kf = kr F."""
        names = [p.name for p in self.parameters]
        i, j = names.index("F"), names.index("kr")

        def evaluate(x: Tensor) -> tuple[Tensor, Tensor]:
            gradient = torch.zeros_like(x)
            gradient[i], gradient[j] = x[j], x[i]
            return x[i] * x[j], gradient

        return Derived(
            Parameter(
                "kf",
                "1/s",
                (0.0, math.inf),
                (0.0, math.inf),
                "exchange rate from water to the semi-solid pool",
            ),
            evaluate,
        )

    def _rate_of_water(self) -> Derived:
        """R1f."""
        names = [p.name for p in self.parameters]
        rows = [names.index(name) for name in ("F", "kr", "R1")]

        def evaluate(x: Tensor) -> tuple[Tensor, Tensor]:
            rate = free_rate(*jets.seeds(x[rows]))
            assert isinstance(rate, Jet)
            gradient = torch.zeros_like(x)
            gradient[rows] = rate.slope[:, 0]
            return rate.value[0], gradient

        return Derived(
            Parameter(
                "R1f", "1/s", (0.0, math.inf), (0.0, math.inf), "longitudinal relaxation rate of free water"
            ),
            evaluate,
        )

    def _column(self, values: Tensor, like: Quantity) -> Tensor:
        """(contrast,) as (contrast, 1, …) to broadcast against rows (1, *voxels)."""
        value = like.value if isinstance(like, Jet) else like
        return values.to(value).reshape((-1,) + (1,) * (value.ndim - 1))


def _saturation_shape(acquisition: QuantitativeMagnetizationTransfer) -> Tensor:
    product = acquisition.tensor("pulse_bandwidth") * acquisition.tensor("pulse_duration")
    options = {"time_bandwidth": product} if acquisition.pulse_shape in ("gauss-hann", "gaussian") else {}
    return pulse_shapes.pulse_shape(acquisition.pulse_shape, _SAMPLES, **options)


def _off_resonance_parameters(normalised: bool, *between: Parameter) -> tuple[Parameter, ...]:
    return (UNSATURATED if normalised else M0, F, KR, T2F, T2R, *between, R1, B1, B0)


@final
class RamaniSignal(_TwoPools):
    """Pulsed off-resonance saturation as a continuous wave of the same mean power: the two-pool steady state.

    With w = B1 w1cw, D = offset - B0, W = π w² G(D, T2r) for a super-Lorentzian G, q = (w/2πD)²/(R1f T2f) and
    a = kf/R1f: M0 (R1r a + W + R1r + kr)/(a (R1r + W) + (1 + q)(W + R1r + kr)). R1r = 1/s; R1f from the known R1.

    Source: Ramani 2002; Henkelman 1993.

    Args:
        acquisition: angles and offsets of the saturation pulse.
        normalised: whether the images were divided by an unsaturated one, so that M0 is one.
        water: ``free`` fits T2f, ``fixed`` takes R1f T2f = 0.055, ``measured`` takes a known map of T2f.

    Raises:
        AcquisitionError: fewer different images than unknowns.
    """

    title = "Quantitative magnetisation transfer, continuous-wave equivalent"
    equation = (
        "M0 * (R1r*kf/R1f + W + R1r + kr) / (kf/R1f*(R1r + W) + (1 + (w/2πD)²/(R1f*T2f))*(W + R1r + kr))"
    )
    references = ("ramani2002", "henkelman1993", "morrison1995")
    acquisition: QuantitativeMagnetizationTransfer
    WATER: ClassVar = ("free", "fixed", "measured")

    def __init__(
        self,
        acquisition: QuantitativeMagnetizationTransfer,
        normalised: bool = False,
        water: Literal["free", "fixed", "measured"] = "free",
    ) -> None:
        parameters = _off_resonance_parameters(normalised)
        self.water = water
        if water == "fixed":
            parameters = tuple(p for p in parameters if p.name != "T2f")
        if water == "measured":
            parameters = tuple(T2F_MEASURED if p.name == "T2f" else p for p in parameters)
        super().__init__(acquisition, parameters)
        _require_images(acquisition, len(self.estimated))
        self.derived = (self._rate_of_exchange(), self._rate_of_water())

    def _formula(self, *rows: Quantity) -> Quantity:
        f, kr, *t2f, t2r, r1, b1, b0 = rows
        acquisition = self.acquisition
        amplitude = pulse_shapes.continuous_amplitude(
            acquisition.tensor("saturation_angle"),
            _saturation_shape(acquisition),
            acquisition.tensor("pulse_duration"),
            acquisition.tensor("repetition_time"),
        )
        wave = b1 * self._column(amplitude, b1)
        power = wave * wave
        offset = -b0 + self._column(acquisition.tensor("offset"), b0)
        rate = math.pi * power * _absorbed("superlorentzian", offset, t2r)
        r1f = free_rate(f, kr, r1)
        ratio = f * kr / r1f
        product = r1f * t2f[0] if t2f else PRODUCT
        direct = power / (jets.floored(offset * offset, 1.0) * (2 * math.pi) ** 2) / product
        both = rate + R1R + kr
        return (ratio * R1R + both) / (ratio * (rate + R1R) + (direct + 1.0) * both)


@final
class YarnykhSignal(_TwoPools):
    """Pulsed off-resonance saturation as a periodic sequence: pulse, delay, excitation, recovery.

    The longitudinal magnetisation of both pools passes through the pulse (mean power, Lorentzian water,
    super-Lorentzian semi-solid pool), the delay, an excitation that turns the water alone, and free recovery; the
    signal is the water before the excitation, relative to that without saturation.

    Source: Yarnykh 2002 and 2012.

    Args:
        acquisition: angles and offsets of the saturation pulse, and the flip angle of the excitation.
        normalised: whether the images were divided by an unsaturated one, so that M0 is one.

    Raises:
        AcquisitionError: no flip angle, or fewer different images than unknowns.
    """

    title = "Quantitative magnetisation transfer, pulsed steady state of two pools"
    equation = "M0 * water(angle, offset) / water(0); water: first of the periodic (Mf, Mr)"
    references = ("yarnykh2002", "yarnykh2012", "morrison1995")
    acquisition: QuantitativeMagnetizationTransfer

    def __init__(self, acquisition: QuantitativeMagnetizationTransfer, normalised: bool = False) -> None:
        super().__init__(acquisition, _off_resonance_parameters(normalised))
        _require_images(acquisition, len(self.estimated))
        if acquisition.flip_angle is None:
            raise AcquisitionError(
                "an acquisition without flip_angle",
                "the excitation turns the water and thereby takes part in its steady state.",
                "Give the flip angle of the excitation.",
            )
        self.derived = (self._rate_of_exchange(), self._rate_of_water())

    def _formula(self, *rows: Quantity) -> Quantity:
        f, kr, t2f, t2r, r1, b1, b0 = rows
        acquisition = self.acquisition
        shape = _saturation_shape(acquisition)
        duration = acquisition.tensor("pulse_duration")
        peak = pulse_shapes.peak_amplitude(acquisition.tensor("saturation_angle"), shape, duration)
        effective = peak * pulse_shapes.power_integral(shape).sqrt()
        wave = b1 * self._column(effective, b1)
        power = wave * wave * math.pi
        offset = -b0 + self._column(acquisition.tensor("offset"), b0)
        r1f = free_rate(f, kr, r1)
        water = power * _absorbed("lorentzian", offset, t2f)
        solid = power * _absorbed("superlorentzian", offset, t2r)
        times = [
            self._column(acquisition.tensor(n), b0) for n in ("pulse_duration", "delay", "repetition_time")
        ]
        excitation = b1 * self._column(acquisition.tensor("flip_angle"), b1)
        saturated = _periodic(f, kr, r1f, water, solid, excitation, times)
        return saturated / _periodic(f, kr, r1f, water * 0.0, solid * 0.0, excitation, times)


def _periodic(
    f: Quantity,
    kr: Quantity,
    r1f: Quantity,
    water: Quantity,
    solid: Quantity,
    excitation: Quantity,
    times: list[Tensor],
) -> Quantity:
    """Water before the excitation, of equilibrium one, in the periodic state; a 2 x 2 problem."""
    pulse, delay, repetition = times
    kf = f * kr
    resting = (-(r1f + kf), kr + 0.0 * r1f, kf, -(kr + R1R))
    driven = (resting[0] - water, resting[1], resting[2], resting[3] - solid)
    sources = (r1f, f * R1R)
    steps = [_step(driven, sources, pulse), _step(resting, sources, delay)]
    rest = _step(resting, sources, repetition - pulse - delay)
    # excitation, recovery, pulse, delay take m to (1 + change) m + gain
    half = jets.sin(excitation * 0.5)
    turned = half * half * -2.0
    change, gain = rest
    change = (change[0] + turned + change[0] * turned, change[1], change[2] + change[2] * turned, change[3])
    for more, extra in steps:
        gain = _plus(gain, _applied(more, gain), extra)
        change = _plus(change, more, _product(more, change))
    # water of -change^-1 gain
    return (change[1] * gain[1] - change[3] * gain[0]) / (change[0] * change[3] - change[1] * change[2])


Matrix = tuple[Quantity, Quantity, Quantity, Quantity]
Vector = tuple[Quantity, Quantity]


def _product(p: Matrix, q: Matrix) -> Matrix:
    return (
        p[0] * q[0] + p[1] * q[2],
        p[0] * q[1] + p[1] * q[3],
        p[2] * q[0] + p[3] * q[2],
        p[2] * q[1] + p[3] * q[3],
    )


def _applied(matrix: Matrix, vector: Vector) -> Vector:
    return matrix[0] * vector[0] + matrix[1] * vector[1], matrix[2] * vector[0] + matrix[3] * vector[1]


def _plus(first: Any, *others: Any) -> Any:
    """Sum of matrices, or of vectors."""
    return tuple(functools.reduce(operator.add, parts) for parts in zip(first, *others, strict=True))


def _step(rates: Matrix, sources: Vector, time: Tensor) -> tuple[Matrix, Vector]:
    """exp(A t) - 1, and what sources add, (exp(A t) - 1) A^-1 s, of a real 2 x 2 matrix, eigenvalues distinct."""
    a, b, c, d = rates
    mean, half = (a + d) * 0.5, (a - d) * 0.5
    root = jets.sqrt(half * half + b * c)
    fast, slow = jets.expm1((mean - root) * time), jets.expm1((mean + root) * time)
    even, odd = (slow + fast) * 0.5, (slow - fast) * 0.5 / root
    change = (even + odd * half, odd * b, odd * c, even - odd * half)
    determinant = a * d - b * c
    rest = ((d * sources[0] - b * sources[1]) / determinant, (a * sources[1] - c * sources[0]) / determinant)
    return change, _applied(change, rest)


@final
class BalancedTransferSignal(_TwoPools):
    """Balanced steady-state free precession whose pulses saturate the semi-solid pool on resonance.

    With E = exp(-rate TR) of each relaxation, fk = exp(-(kf + kr) TR), fw = exp(-W Trf), W = π <w²> G(0) of mean power
    over the pulse: M0 sin α ((1 - E1f) B + C)/(A - B E1f E2f - (B E1f - A E2f) cos α),
    A = 1 + F - fw E1r (F + fk), B = 1 + fk (F - fw E1r (F + 1)), C = F (1 - E1r)(1 - fk).
    G(0) = 1.2524e-5 s at T2r = 12 µs, and in proportion to T2r.

    Source: Gloor 2008.

    Args:
        acquisition: angles and durations of the pulses.

    Raises:
        AcquisitionError: fewer different images than unknowns.
    """

    title = "Quantitative magnetisation transfer, balanced steady-state free precession"
    equation = "M0 * sin(α) * ((1 - E1f)*B + C) / (A - B*E1f*E2f - (B*E1f - A*E2f)*cos(α))"
    references = ("gloor2008",)
    acquisition: BalancedMagnetizationTransfer

    def __init__(self, acquisition: BalancedMagnetizationTransfer) -> None:
        known = Parameter(T2R.name, T2R.unit, T2R.bounds, T2R.prior, T2R.description, nominal=12e-6)
        super().__init__(acquisition, (M0, F, KR, T2F, known, R1, B1))
        images = set(
            zip(acquisition.flip_angle, acquisition.pulse_duration, acquisition.repetition_time, strict=True)
        )
        _enough(len(images), len(self.estimated))
        self.derived = (self._rate_of_exchange(), self._rate_of_water())

    def _formula(self, *rows: Quantity) -> Quantity:
        f, kr, t2f, t2r, r1, b1 = rows
        acquisition = self.acquisition
        nominal, duration, repetition = (
            self._column(acquisition.tensor(name), b1)
            for name in ("flip_angle", "pulse_duration", "repetition_time")
        )
        shape = pulse_shapes.pulse_shape(acquisition.pulse_shape, _SAMPLES).to(nominal)
        mean, power = pulse_shapes.amplitude_integral(shape), pulse_shapes.power_integral(shape)
        angle = b1 * nominal
        # ∫ w² dt, over Trf by W and times Trf by fw
        saturation = angle * angle * (math.pi * power / (mean * mean) / duration) * (t2r * ON_RESONANCE)
        r1f = free_rate(f, kr, r1)
        e1f, e2f = jets.exp(-(r1f * repetition)), jets.exp(-(repetition / t2f))
        e1r = torch.exp(-R1R * repetition)
        exchanged = jets.exp(-(f * kr + kr) * repetition)
        kept = jets.exp(-saturation) * e1r
        a = f + 1.0 - kept * (f + exchanged)
        b = exchanged * (f - kept * (f + 1.0)) + 1.0
        c = f * (1.0 - exchanged) * (1.0 - e1r)
        cosine = jets.cos(angle)
        below = a - b * e1f * e2f - (b * e1f - a * e2f) * cosine
        return jets.sin(angle) * ((1.0 - e1f) * b + c) / below


def _require_images(acquisition: QuantitativeMagnetizationTransfer, unknowns: int) -> None:
    pairs = zip(acquisition.saturation_angle, acquisition.offset, strict=True)
    _enough(len({(angle, offset if angle else 0.0) for angle, offset in pairs}), unknowns)


def _enough(images: int, unknowns: int) -> None:
    if images < unknowns:
        raise AcquisitionError(
            f"{images} different images",
            f"the model has {unknowns} unknowns.",
            "Add images, or fix what the model can fix.",
        )
