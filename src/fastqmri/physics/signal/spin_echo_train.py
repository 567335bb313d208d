"""Spin-echo trains whose refocusing is imperfect: stimulated echoes in closed form."""

from __future__ import annotations

import math
from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from fastqmri.core import AcquisitionError, MultiEchoSpinEcho, Parameter
from fastqmri.physics.signal.model import SignalModel, inverse_of
from fastqmri.physics.signal.relaxometry import M0, T2

_HALF_WIDTHS = 1.6
_POSITIONS = 9
_SPACING_TOLERANCE = 1e-3
_PERFECT = 0.02

Jet = tuple[Tensor, Tensor]
"""A value (…) and its derivatives (tangent, …)."""


@final
class SpinEchoTrain(SignalModel):
    """Echoes of a train of equal refocusing pulses that need not be 180°, stimulated echoes included.

    The k-th echo is half the coefficient of z^k in sqrt(N(z)/D(z)),
    N = (1 + z E2)(1 - z (E1 + E2) cos α + z² E1 E2), D = (1 - z E2)(1 - z (E1 - E2) cos α - z² E1 E2),
    E = exp(-spacing/T), averaged over the slice: at a place where a pulse reaches the fraction p of its angle, the
    excitation gives sin(B1 p 90°) and α = B1 p 180°. A mono-exponential fit to such a train overestimates T2.

    Source: Lukzen 2007; slice profiles as in Petrovic 2015.

    Args:
        acquisition: equally spaced echoes, the first one spacing after the excitation.
        profile: ``gaussian``, pulses whose angle falls off across the slice as a Gaussian does, or ``ideal``.

    Raises:
        AcquisitionError: echoes that are not equally spaced from zero.
    """

    title = "Spin-echo train with stimulated echoes"
    equation = "M0 * slice average of [z^k] sqrt(N(z)/D(z)) / 2"
    references = ("lukzen2007", "petrovic2015")
    acquisition: MultiEchoSpinEcho
    PROFILES: ClassVar = ("gaussian", "ideal")

    def __init__(
        self, acquisition: MultiEchoSpinEcho, profile: Literal["gaussian", "ideal"] = "gaussian"
    ) -> None:
        super().__init__(
            acquisition,
            (
                M0,
                T2,
                Parameter("B1", "fraction", (0.4, 1.3), (0.7, 1.1), "refocusing angle, fraction of 180°"),
                Parameter(
                    "T1",
                    "s",
                    (0.02, 10.0),
                    (0.2, 3.0),
                    "longitudinal relaxation time (matters little)",
                    nominal=1.0,
                ),
            ),
        )
        times = acquisition.tensor("echo_time")
        self._spacing = float(times[0])
        even = self._spacing * torch.arange(1, len(times) + 1)
        if float((times - even).abs().max()) > _SPACING_TOLERANCE * self._spacing:
            raise AcquisitionError(
                f"echo times {[round(1e3 * float(t), 3) for t in times]} ms",
                "stimulated echoes fall on the spin echoes only when all are equally spaced from the excitation.",
                "Use the mono-exponential model, or check the echo times.",
            )
        place = torch.linspace(0, _HALF_WIDTHS, _POSITIONS, dtype=torch.float64)
        self._fractions = (
            torch.exp2(-(place**2)) if profile == "gaussian" else torch.ones(1, dtype=torch.float64)
        )
        self.derived = (inverse_of("R2", "1/s", 1, 4, "transverse relaxation rate, 1/T2"),)

    def start(self, data: Tensor, weights: Tensor | None = None) -> Tensor:
        """Dictionary match, kept off the perfect pulse: the derivative by B1 vanishes there and would hold a fit."""
        x = super().start(data, weights)
        x[2] = torch.where((x[2] - 1).abs() < _PERFECT, 1 - _PERFECT, x[2])
        return x

    def forward(self, x: Tensor) -> Tensor:
        """Signal (contrast, *voxels) of (M0, T2, B1, T1)."""
        return self.evaluate(x)[0]

    def jacobian(self, x: Tensor) -> Tensor:
        """∂signal/∂(M0, T2, B1, T1)."""
        return self.evaluate(x)[1]

    def evaluate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Signal and Jacobian, by recurrence over the echoes."""
        m0, t2, b1, t1 = x
        fraction = self._fractions.to(x).view(-1, *(1,) * (x.ndim - 1))
        shape = (len(fraction), *x.shape[1:])
        values, tangents = self._echoes(t2.expand(shape), b1 * fraction, t1.expand(shape))
        right_angle = math.pi / 2 * fraction
        excitation = torch.sin(right_angle * b1)
        by_b1 = right_angle * torch.cos(right_angle * b1)
        weight = float(torch.sin(math.pi / 2 * self._fractions).sum())
        unit = (excitation * values).sum(1) / weight
        slopes = [
            excitation * tangents[:, 0],
            excitation * fraction * tangents[:, 1] + by_b1 * values,
            excitation * tangents[:, 2],
        ]
        columns = [unit, *(m0 * slope.sum(1) / weight for slope in slopes)]
        return m0 * unit, torch.stack(columns, 1)

    def _echoes(self, t2: Tensor, angle: Tensor, t1: Tensor) -> tuple[Tensor, Tensor]:
        """Echoes (contrast, place, *voxels) and their derivatives by T2, angle and T1, on the second axis."""
        zero = torch.zeros_like(t2)
        e2 = torch.exp(-self._spacing / t2)
        e1 = torch.exp(-self._spacing / t1)
        jet_e2 = e2, torch.stack([e2 * self._spacing / t2**2, zero, zero])
        jet_e1 = e1, torch.stack([zero, zero, e1 * self._spacing / t1**2])
        cosine = (
            torch.cos(math.pi * angle),
            torch.stack([zero, -math.pi * torch.sin(math.pi * angle), zero]),
        )
        one = torch.ones_like(t2), torch.zeros_like(jet_e2[1])
        product = _times(jet_e1, jet_e2)
        numerator = _polynomial(
            [one, jet_e2], [one, _scaled(_times(_plus(jet_e1, jet_e2), cosine), -1), product]
        )
        denominator = _polynomial(
            [one, _scaled(jet_e2, -1)],
            [one, _scaled(_times(_plus(jet_e1, _scaled(jet_e2, -1)), cosine), -1), _scaled(product, -1)],
        )
        return _half_root_coefficients(numerator, denominator, self.acquisition.contrasts)


def _half_root_coefficients(
    numerator: list[Jet], denominator: list[Jet], count: int
) -> tuple[Tensor, Tensor]:
    """Coefficients 1 … count of sqrt(N/D)/2, from the recurrence that 2 N D f' = (N' D - N D') f gives."""
    both = _polynomial(numerator, denominator)
    left = _polynomial(_derivative(numerator), denominator)
    right = _polynomial(numerator, _derivative(denominator))
    source = [_plus(a, _scaled(b, -1)) for a, b in zip(left, right, strict=True)]
    values = [torch.ones_like(both[0][0])]
    tangents = [torch.zeros_like(both[0][1])]
    for k in range(count):
        value = torch.zeros_like(values[0])
        tangent = torch.zeros_like(tangents[0])
        for i, (q, dq) in enumerate(source[: k + 1]):
            value = value + q * values[k - i]
            tangent = tangent + dq * values[k - i] + q * tangents[k - i]
        for i, (p, dp) in enumerate(both[1 : k + 2], start=1):
            factor = 2 * (k + 1 - i)
            if factor:
                value = value - factor * p * values[k + 1 - i]
                tangent = tangent - factor * (dp * values[k + 1 - i] + p * tangents[k + 1 - i])
        values.append(value / (2 * (k + 1)))
        tangents.append(tangent / (2 * (k + 1)))
    return torch.stack(values[1:]) / 2, torch.stack(tangents[1:]) / 2


def _times(a: Jet, b: Jet) -> Jet:
    return a[0] * b[0], a[1] * b[0] + a[0] * b[1]


def _plus(a: Jet, b: Jet) -> Jet:
    return a[0] + b[0], a[1] + b[1]


def _scaled(a: Jet, factor: float) -> Jet:
    return factor * a[0], factor * a[1]


def _polynomial(a: list[Jet], b: list[Jet]) -> list[Jet]:
    """Product of two polynomials in z."""
    out: list[Jet | None] = [None] * (len(a) + len(b) - 1)
    for i, p in enumerate(a):
        for j, q in enumerate(b):
            term = _times(p, q)
            present = out[i + j]
            out[i + j] = term if present is None else _plus(present, term)
    return [jet for jet in out if jet is not None]


def _derivative(a: list[Jet]) -> list[Jet]:
    return [_scaled(jet, i) for i, jet in enumerate(a)][1:]
