"""Shapes of radio-frequency pulses: samples of unit peak, and what follows from them.

A shape is a vector of samples at the middle of equal steps over the pulse, real or (where the phase is swept)
complex, of largest magnitude one. Amplitudes are angular, ω1 = γ B1 in rad/s.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from fastqmri.core import AcquisitionError, UnknownNameError

Number = TypeVar("Number", bound=Tensor | float)
Window = Literal["none", "hann", "hamming"]
_WINDOWS: dict[str, float] = {"none": 1.0, "hann": 0.5, "hamming": 0.54}


def hard(samples: int = 1) -> Tensor:
    """Constant amplitude."""
    return torch.ones_like(_places(samples))


def sinc(samples: int, time_bandwidth: float = 4.0, window: Window = "hann") -> Tensor:
    """sin(π b u)/(π b u), b the time-bandwidth product, u from -1/2 to 1/2, under a window.

    Raises:
        UnknownNameError: no such window.
        AcquisitionError: no samples, or a time-bandwidth product that is not positive.
    """
    u = _places(samples)
    return _peak_one(torch.sinc(_positive("time_bandwidth", time_bandwidth) * u) * _window(u, window))


def gaussian(samples: int, time_bandwidth: Tensor | float) -> Tensor:
    """exp(-(π b u)²/(4 ln 2)): b = duration times the full width at half maximum of the spectrum.

    Its standard deviation is sqrt(2 ln 2)/(π b) durations. A pulse written exp(-π (p u)²), as Pulseq does,
    has b = 2 sqrt(ln 2/π) p = 0.939 p.

    Raises:
        AcquisitionError: no samples, or a time-bandwidth product that is not positive.
    """
    u = _places(samples)
    b = _positive("time_bandwidth", time_bandwidth)
    return _peak_one(torch.exp(-((math.pi * b * u) ** 2) / (4 * math.log(2))))


def gauss_hann(samples: int, time_bandwidth: Tensor | float) -> Tensor:
    """A Gaussian (see `gaussian`) under a Hann window: magnetisation-transfer saturation.

    Raises:
        AcquisitionError: no samples, or a time-bandwidth product that is not positive.
    """
    return _peak_one(gaussian(samples, time_bandwidth) * hann(samples))


def hann(samples: int) -> Tensor:
    """cos²(π u), also called Hanning pulse."""
    return _peak_one(_window(_places(samples), "hann"))


def fermi(samples: int, half_width: float = 0.3, transition: float = 0.03) -> Tensor:
    """1/(1 + exp((|u| - r)/a)), r the half width and a the transition, both in durations.

    Raises:
        AcquisitionError: no samples, or widths that are not positive.
    """
    u = _places(samples)
    r, a = _positive("half_width", half_width), _positive("transition", transition)
    return _peak_one(torch.sigmoid((r - u.abs()) / a))


def hyperbolic_secant(samples: int, beta: float = 5.3, mu: float = 4.9) -> Tensor:
    """sech(2 β u)^(1 + i μ): adiabatic inversion over a band of 2 μ β/(π duration) Hz.

    Source: Silver 1985.

    Args:
        samples: how many.
        beta: truncation; the amplitude begins and ends at sech β.
        mu: frequency sweep.

    Raises:
        AcquisitionError: no samples, or a truncation that is not positive.
    """
    u = _places(samples)
    envelope = 1 / torch.cosh(2 * _positive("beta", beta) * u)
    phase = mu * envelope.log()
    return _peak_one(torch.polar(envelope, phase))


SHAPES: dict[str, Callable[..., Tensor]] = {
    "hard": hard,
    "sinc": sinc,
    "gaussian": gaussian,
    "gauss-hann": gauss_hann,
    "hann": hann,
    "fermi": fermi,
    "hyperbolic-secant": hyperbolic_secant,
}


def pulse_shape(name: str, samples: int, **options: Any) -> Tensor:
    """A shape by name, (samples,) of unit peak.

    Raises:
        UnknownNameError: no shape of that name.
    """
    if name not in SHAPES:
        raise UnknownNameError(
            f"pulse shape {name!r}", "there is no such shape.", f"Use one of {', '.join(SHAPES)}."
        )
    return SHAPES[name](samples, **options)


def amplitude_integral(shape: Tensor) -> Tensor:
    """Mean of a shape: its integral is this times the duration; a hard pulse has 1."""
    return shape.mean()


def power_integral(shape: Tensor) -> Tensor:
    """Mean square magnitude of a shape: its power integral is this times the duration; a hard pulse has 1."""
    return (shape.abs() ** 2).mean()


def peak_amplitude(flip_angle: Tensor | float, shape: Tensor, duration: Tensor | float) -> Tensor:
    """Peak ω1 in rad/s that makes a shape a pulse of this flip angle on resonance.

    Args:
        flip_angle: rad, any shape.
        shape: (samples,).
        duration: s, broadcasts against ``flip_angle``.

    Raises:
        AcquisitionError: a shape without net area has no flip angle.
    """
    mean = amplitude_integral(shape)
    area = mean.abs() if mean.is_complex() else mean
    if float(area.detach().abs()) < 1e-9:
        raise AcquisitionError(
            "a pulse shape without net area",
            "no amplitude gives it a flip angle on resonance.",
            "Give the amplitude itself.",
        )
    return flip_angle / (area * duration)


def continuous_amplitude(
    flip_angle: Tensor | float, shape: Tensor, duration: Tensor | float, repetition_time: Tensor | float
) -> Tensor:
    """ω1 in rad/s of the continuous wave with the mean power of one pulse every repetition time.

    sqrt(∫ ω1² dt / TR), what saturation models of pulsed trains call ω1cw.

    Args:
        flip_angle: of each pulse on resonance, rad.
        shape: (samples,).
        duration: of each pulse, s.
        repetition_time: s.

    Raises:
        AcquisitionError: as `peak_amplitude`.
    """
    duty = torch.as_tensor(duration / repetition_time, dtype=power_integral(shape).dtype)
    return peak_amplitude(flip_angle, shape, duration) * (power_integral(shape) * duty).sqrt()


def _places(samples: int) -> Tensor:
    """Middles of equal steps from -1/2 to 1/2."""
    if samples < 1:
        raise AcquisitionError(
            f"a pulse of {samples} samples", "a shape has at least one.", "Give their number."
        )
    return (torch.arange(samples, dtype=torch.float64) + 0.5) / samples - 0.5


def _window(u: Tensor, name: str) -> Tensor:
    if name not in _WINDOWS:
        raise UnknownNameError(
            f"window {name!r}", "there is no such window.", f"Use one of {', '.join(_WINDOWS)}."
        )
    level = _WINDOWS[name]
    return level + (1 - level) * torch.cos(2 * math.pi * u)


def _peak_one(shape: Tensor) -> Tensor:
    """Divided by the largest magnitude: an even number of samples misses the middle of the pulse by half a step."""
    return shape / shape.abs().amax()


def _positive(name: str, value: Number) -> Number:
    if not value > 0:
        raise AcquisitionError(
            f"{name} = {value:g}", "a pulse of that shape does not exist.", f"Give a positive {name}."
        )
    return value
