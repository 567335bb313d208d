"""Absorption lineshapes of a pool without observable transverse magnetisation (the semi-solid pool).

The rate at which an irradiation of amplitude ω1 (rad/s) at an offset saturates such a pool is π ω1² G, with G in
seconds. All lineshapes here have the form G = T2 h(x), x = 2π |offset| T2: a function of one argument, so that the
integral of the super-Lorentzian is a table made once.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor

from fastqmri.core import UnknownNameError

TWO_PI = 2 * math.pi
BRIDGE_LIMIT = 1500.0
"""Hz: offsets up to here are moved away from the singularity of the super-Lorentzian."""
_BRIDGE_SQUARE, _BRIDGE_CENTRE = 0.00016, 1140.0

Profile = Callable[[Tensor], tuple[Tensor, Tensor]]
"""x -> h(x) and x h'(x)."""


def absorption(kind: str, offset: Tensor, t2: Tensor) -> Tensor:
    """G in s.

    Args:
        kind: one of `LINESHAPES`.
        offset: from the pool's centre in Hz, any shape.
        t2: the pool's transverse relaxation time in s, broadcastable.

    Raises:
        UnknownNameError: no such lineshape.
    """
    moved, _ = _moved(kind, offset)
    return t2 * _profile(kind)(TWO_PI * moved.abs() * t2)[0]


def absorption_with_slopes(kind: str, offset: Tensor, t2: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """G in s, ∂G/∂t2 (without unit) and ∂G/∂offset (s/Hz), as `absorption` takes its arguments.

    Raises:
        UnknownNameError: no such lineshape.
    """
    moved, slope = _moved(kind, offset)
    h, xh = _profile(kind)(TWO_PI * moved.abs() * t2)
    safe = torch.where(moved == 0, torch.ones_like(moved), moved)
    by_offset = torch.where(moved == 0, torch.zeros_like(xh), t2 * xh / safe) * slope
    return t2 * h, h + xh, by_offset


def lorentzian(offset: Tensor, t2: Tensor) -> Tensor:
    """T2/π / (1 + (2π offset T2)²), in s."""
    return absorption("lorentzian", offset, t2)


def gaussian(offset: Tensor, t2: Tensor) -> Tensor:
    """T2/sqrt(2π) exp(-(2π offset T2)²/2), in s."""
    return absorption("gaussian", offset, t2)


def super_lorentzian(offset: Tensor, t2: Tensor) -> Tensor:
    """∫0^1 sqrt(2/π) T2/|3u² - 1| exp(-2 (2π offset T2/(3u² - 1))²) du, in s; offsets by `bridged`.

    Source: Morrison 1995.
    """
    return absorption("superlorentzian", offset, t2)


def bridged(offset: Tensor) -> Tensor:
    """Offsets (Hz) at which a super-Lorentzian is evaluated: |D| <= 1500 Hz is replaced by 0.00016 D² + 1140.

    The lineshape of perfectly aligned lipid layers diverges at its centre (as a logarithm), that of tissue does not.
    The parabola meets the straight line at 1500 Hz, and stops the climb at 1140 Hz. Source: the rule of qMRLab.
    """
    return _moved("superlorentzian", offset)[0]


def _moved(kind: str, offset: Tensor) -> tuple[Tensor, Tensor]:
    """Offset at which the profile is taken, and its derivative by the offset."""
    one = torch.ones_like(offset)
    if kind != "superlorentzian":
        return offset, one
    near = offset.abs() <= BRIDGE_LIMIT
    return (
        torch.where(near, _BRIDGE_SQUARE * offset**2 + _BRIDGE_CENTRE, offset),
        torch.where(near, 2 * _BRIDGE_SQUARE * offset, one),
    )


def _profile(kind: str) -> Profile:
    if kind not in LINESHAPES:
        raise UnknownNameError(
            f"lineshape {kind!r}", "there is no such lineshape.", f"Use one of {', '.join(LINESHAPES)}."
        )
    return LINESHAPES[kind]


def _lorentzian(x: Tensor) -> tuple[Tensor, Tensor]:
    h = 1 / (math.pi * (1 + x * x))
    return h, -2 * math.pi * (x * h) ** 2


def _gaussian(x: Tensor) -> tuple[Tensor, Tensor]:
    h = torch.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    return h, -x * x * h


_LOWEST, _HIGHEST, _INTERVALS = math.log(1e-4), math.log(64.0), 2048
_STEP = (_HIGHEST - _LOWEST) / _INTERVALS
_LOGARITHM = math.sqrt(2 / math.pi) / math.sqrt(3)
"""h falls by this times ln x towards small x."""


def _super_lorentzian(x: Tensor) -> tuple[Tensor, Tensor]:
    """By cubic Hermite interpolation of ln h + x²/2 over ln x, to 1e-10 of h; below the table by its logarithm."""
    table = _table().to(device=x.device, dtype=x.dtype)
    tiny = x < math.exp(_LOWEST)
    inside = torch.where(tiny, torch.full_like(x, math.exp(_LOWEST)), x).clamp_max(math.exp(_HIGHEST))
    place = (inside.log() - _LOWEST) / _STEP
    cell = place.detach().floor().clamp(0, _INTERVALS - 1)
    t = place - cell
    c0, c1, c2, c3 = table[cell.long()].unbind(-1)
    height = c0 + t * (c1 + t * (c2 + t * c3))
    slope = (c1 + t * (2 * c2 + 3 * t * c3)) / _STEP
    square = x * x
    h = torch.exp(height - square / 2)
    xh = h * (slope - square)
    below = torch.where(tiny, x / math.exp(_LOWEST), torch.ones_like(x))
    return h - _LOGARITHM * below.log(), torch.where(tiny, torch.full_like(x, -_LOGARITHM), xh)


@functools.cache
def _table() -> Tensor:
    """(interval, 4) coefficients of ln h + x²/2 in each interval of ln x."""
    x = torch.exp(_LOWEST + _STEP * torch.arange(_INTERVALS + 1, dtype=torch.float64))
    scaled, slope = _integral(x)
    value = scaled.log()
    by_place = _STEP * (slope / scaled + x * x)
    rise = value[1:] - value[:-1]
    d0, d1 = by_place[:-1], by_place[1:]
    return torch.stack([value[:-1], d0, 3 * rise - 2 * d0 - d1, d0 + d1 - 2 * rise], 1)


def _integral(x: Tensor) -> tuple[Tensor, Tensor]:
    """h exp(x²/2) and x h' exp(x²/2) of x (point,), by Gauss-Legendre quadrature.

    With v = 3u² - 1, and s = -ln|v| (plus ln 2 where v > 0), both sides of the singularity become smooth integrands
    that end as exp(-exp(2s)); the inverse square root at u = 0 goes with s = r².
    """
    import numpy as np

    nodes, weights = (torch.from_numpy(part) for part in np.polynomial.legendre.leggauss(256))
    nodes, weights = (nodes + 1) / 2, weights / 2
    square = (x * x)[:, None]
    enough = 745.0
    # u > 1/sqrt(3): v = 2 exp(-s)
    end = 0.5 * torch.log1p(2 * enough / square)
    s = end * nodes
    v = 2 * torch.exp(-s)
    outer = torch.exp(square / 2 - 2 * square / v**2) * weights * end / torch.sqrt((1 + v) / 3)
    total, slope = outer.sum(1), (-4 * square / v**2 * outer).sum(1)
    # u < 1/sqrt(3): v = -exp(-r²)
    end = torch.sqrt(0.5 * torch.log1p(enough / (2 * square)))
    r = end * nodes
    v = torch.exp(-r * r)
    width = weights * end * 2 * r / torch.sqrt(-torch.expm1(-r * r) / 3)
    inner = torch.exp(square / 2 - 2 * square / v**2) * width
    factor = math.sqrt(2 / math.pi) / 6
    return factor * (total + inner.sum(1)), factor * (slope + (-4 * square / v**2 * inner).sum(1))


LINESHAPES: dict[str, Profile] = {
    "superlorentzian": _super_lorentzian,
    "lorentzian": _lorentzian,
    "gaussian": _gaussian,
}
"""Name -> h(x) and x h'(x)."""
