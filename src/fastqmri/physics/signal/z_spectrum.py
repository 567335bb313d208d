"""Z-spectra in closed form: sums of Lorentzians, the water shift and B1 of a short pulse, and asymmetries.

Offsets and shifts are in ppm from the nominal water frequency. A voxel whose water is shifted by dB0 finds a wanted
detuning D at the applied offset D + dB0, on both sides.
"""

from __future__ import annotations

import functools
import math
from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from fastqmri.core import AcquisitionError, Parameter, PlausibilityError, ZSpectrum
from fastqmri.core.units import GYROMAGNETIC_RATIO_UT
from fastqmri.physics.signal import jets
from fastqmri.physics.signal.jets import Jet
from fastqmri.physics.signal.model import Derived, SignalModel
from fastqmri.physics.signal.relaxometry import M0

FAR = 20.0
"""ppm: an offset that saturates nothing that resonates."""
SHIFT = Parameter("dB0", "ppm", (-2.0, 2.0), (-0.4, 0.4), "shift of the local water")

# pool -> centre (ppm from water), then start, bounds and prior of its amplitude and of its width
_POOLS: dict[str, tuple[float, tuple[float, ...], tuple[float, ...]]] = {
    "water": (0.0, (0.9, 0.4, 1.0, 0.5, 0.75), (2.3, 0.3, 6.0, 1.2, 3.0)),
    "amide": (3.5, (0.01, 0.0, 0.2, 0.005, 0.08), (2.0, 1.0, 10.0, 1.5, 3.0)),
    "noe": (-3.5, (0.1, 0.0, 0.4, 0.01, 0.14), (4.0, 2.0, 12.5, 2.5, 5.0)),
    "mt": (-2.5, (0.1, 0.0025, 0.5, 0.02, 0.16), (60.0, 30.0, 100.0, 35.0, 80.0)),
    "amine": (2.0, (0.01, 0.0, 0.2, 0.005, 0.08), (1.5, 0.5, 5.0, 1.0, 2.5)),
}
POOLS = {
    "4": ("water", "amide", "noe", "mt"),
    "1": ("water",),
    "2": ("water", "mt"),
    "3": ("water", "amide", "noe"),
    "5": ("water", "amide", "noe", "mt", "amine"),
}
"""Choice -> the pools of the sum."""
_FREEDOM = 0.4


@final
class LorentzianPools(SignalModel):
    """Z-spectrum of several pools, each a Lorentzian line at its shift from water.

    M0 (1 - Σ A (G/2)²/((G/2)² + (D - dB0 - d)²)); A is the depth of a pool's line (its MTR_LD), G its full width at
    half maximum and d its shift. Amide 3.5, NOE -3.5, semi-solid -2.5, amine 2 ppm. Start, bounds and priors are
    those in use for 3 T and low power, but that higher fields need more room for NOE, MT and a narrow water; M0 is left
    free where others hold it close to one.

    Source: Glang 2020 (its conventional fit).

    Args:
        acquisition: offsets.
        pools: how many, see `POOLS`.
        shifts: ``free`` fits d of the pools but water too, within 0.4 ppm.

    Raises:
        AcquisitionError: fewer different offsets than unknowns.
    """

    title = "Z-spectrum as a sum of Lorentzian lines"
    references = ("glang2020",)
    acquisition: ZSpectrum
    SHIFTS: ClassVar = ("fixed", "free")

    def __init__(
        self,
        acquisition: ZSpectrum,
        pools: Literal["4", "1", "2", "3", "5"] = "4",
        shifts: Literal["fixed", "free"] = "fixed",
    ) -> None:
        self.pools = POOLS[pools]
        lines: list[Parameter] = []
        for name in self.pools:
            _, depth, width = _POOLS[name]
            lines.append(Parameter(f"A_{name}", "1", depth[1:3], depth[3:5], f"depth of the {name} line"))  # type: ignore[arg-type]
            lines.append(Parameter(f"G_{name}", "ppm", width[1:3], width[3:5], f"width of the {name} line"))  # type: ignore[arg-type]
        self.movable = self.pools[1:] if shifts == "free" else ()
        for name in self.movable:
            centre = _POOLS[name][0]
            bounds = centre - _FREEDOM, centre + _FREEDOM
            prior = centre - 0.2, centre + 0.2
            lines.append(Parameter(f"d_{name}", "ppm", bounds, prior, f"shift of the {name} line from water"))
        super().__init__(acquisition, (M0, SHIFT, *lines))
        _require_offsets(acquisition, len(self.estimated))
        self.equation = "M0 * (1 - " + " - ".join(self._term(name) for name in self.pools) + ")"
        self.derived = tuple(self._exchange_related(name) for name in self.pools[1:] if name != "mt")

    def _term(self, name: str) -> str:
        shift = f"d_{name}" if name in self.movable else f"({_POOLS[name][0]:g})"
        apart = "offset - dB0" if name == "water" else f"offset - dB0 - {shift}"
        return f"A_{name} / (1 + (2*({apart})/G_{name})^2)"

    def start(self, data: Tensor, weights: Tensor | None = None) -> Tensor:
        """The usual starting values, M0 at the highest sample and dB0 at the lowest one."""
        offset = self.acquisition.tensor("offset", like=data)
        usable = data if weights is None else torch.where(weights > 0, data, torch.full_like(data, torch.inf))
        near = torch.where(offset.abs()[:, None] <= 2, usable, torch.full_like(usable, torch.inf))
        column = [1.0, 0.0, *(v for name in self.pools for v in (_POOLS[name][1][0], _POOLS[name][2][0]))]
        column += [_POOLS[name][0] for name in self.movable]
        x = torch.tensor(column, dtype=data.dtype)[:, None].expand(-1, data.shape[1]).clone()
        x[0] = (data if weights is None else data * (weights > 0)).amax(0)
        if bool((offset.abs() <= 2).any()):
            x[1] = offset[near.argmin(0)].clamp(-1, 1)
        return self._clamp(x)

    def forward(self, x: Tensor) -> Tensor:
        """Signal (contrast, *voxels)."""
        loss = torch.zeros_like(x[:1])
        for i, name in enumerate(self.pools):
            loss = loss + x[2 + 2 * i] / (1 + self._ratio(x, i, name) ** 2)
        return x[0] * (1 - loss)

    def jacobian(self, x: Tensor) -> Tensor:
        """∂signal/∂x."""
        return self.evaluate(x)[1]

    def evaluate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Signal and Jacobian."""
        shape = (self.acquisition.contrasts, len(x), *x.shape[1:])
        jacobian = torch.empty(shape, dtype=x.dtype, device=x.device)
        loss, by_shift = torch.zeros_like(jacobian[:, 0]), torch.zeros_like(jacobian[:, 0])
        for i, name in enumerate(self.pools):
            depth, width = x[2 + 2 * i], x[3 + 2 * i]
            ratio = self._ratio(x, i, name)
            line = 1 / (1 + ratio**2)
            slope = -x[0] * depth * line**2 * ratio / width  # a quarter of that by the centre
            loss = loss + depth * line
            jacobian[:, 2 + 2 * i] = -x[0] * line
            jacobian[:, 3 + 2 * i] = 2 * slope * ratio
            by_centre = 4 * slope
            by_shift = by_shift + by_centre
            if name in self.movable:
                jacobian[:, 2 + 2 * len(self.pools) + self.movable.index(name)] = by_centre
        jacobian[:, 0], jacobian[:, 1] = 1 - loss, by_shift
        return x[0] * (1 - loss), jacobian

    def _ratio(self, x: Tensor, i: int, name: str) -> Tensor:
        """Detuning from the line's centre in half widths."""
        shift = (
            x[2 + 2 * len(self.pools) + self.movable.index(name)] if name in self.movable else _POOLS[name][0]
        )
        return (self._times("offset", x) - (x[1] + shift)) * (2 / x[3 + 2 * i])

    def _exchange_related(self, name: str) -> Derived:
        """MTR_Rex = 1/Z - 1/Zref at the centre of a line; Zref is the spectrum without it, Z = Zref - A."""
        own = self.pools.index(name)

        def evaluate(x: Tensor) -> tuple[Tensor, Tensor]:
            rows = jets.seeds(x)
            lines = {pool: _POOLS[pool][0] + 0.0 * rows[0] for pool in self.pools}
            for k, pool in enumerate(self.movable):
                lines[pool] = rows[2 + 2 * len(self.pools) + k]
            reference: Jet = 1.0 + 0.0 * rows[0]
            for i, pool in enumerate(self.pools):
                if i != own:
                    ratio = 2.0 * (lines[name] - lines[pool]) / rows[3 + 2 * i]
                    reference = reference - rows[2 + 2 * i] / (1.0 + ratio * ratio)
            found = 1.0 / (reference - rows[2 + 2 * own]) - 1.0 / reference
            return found.value[0], found.slope[:, 0]

        text = f"1/Z - 1/Zref of the {name} line at its centre, proportional to its exchange-dependent relaxation"
        return Derived(
            Parameter(f"MTRRex_{name}", "1", (-math.inf, math.inf), (0.0, math.inf), text), evaluate
        )


def water_line(acquisition: ZSpectrum) -> LorentzianPools:
    """Shift of the water from a weakly saturated Z-spectrum near it: one Lorentzian line.

    Source: Kim 2009 (WASSR), with the centre from a fit.
    """
    return LorentzianPools(acquisition, "1")


@final
class WasabiSignal(SignalModel):
    """Water shift and B1 from a short rectangular pulse at offsets around water.

    M0 |1 - c sin²(atan(w1/dw)) sin²(sqrt(w1² + dw²) tp/2)|, w1 = γ B1 times the nominal amplitude, dw the detuning;
    c is 2 without relaxation.

    Source: Schuenke 2017, with the contrast c relative to M0.

    Args:
        acquisition: offsets, and amplitude and duration of the pulse and the field strength.

    Raises:
        AcquisitionError: without these, or fewer different offsets than unknowns.
        PlausibilityError: a pulse that turns the water less than half a turn, or as a long saturation does.
    """

    title = "Water shift and B1 from a short saturation pulse"
    equation = "abs(M0 * (1 - c * (sin(arctan(w1/dw)) * sin(sqrt(w1^2 + dw^2)*tp/2))^2))"
    references = ("schuenke2017",)
    acquisition: ZSpectrum

    def __init__(self, acquisition: ZSpectrum) -> None:
        missing = [
            name
            for name in ("saturation_b1", "saturation_time", "field_strength")
            if getattr(acquisition, name) is None
        ]
        if missing:
            raise AcquisitionError(
                f"a Z-spectrum without {', '.join(missing)}",
                "they decide at which offsets the pulse turns the water by how much.",
                "Give the amplitude and duration of the pulse, and the field strength.",
            )
        contrast = Parameter("c", "1", (0.1, 3.0), (1.3, 2.0), "contrast, 2 without relaxation")
        b1 = Parameter("B1", "fraction", (0.2, 2.0), (0.6, 1.4), "transmit field (B1+), fraction of nominal")
        super().__init__(acquisition, (M0, contrast, b1, SHIFT))
        _require_offsets(acquisition, len(self.estimated))
        turn = (
            GYROMAGNETIC_RATIO_UT
            * float(acquisition.saturation_b1 or 0)
            * float(acquisition.saturation_time or 0)
        )
        if not 1 < turn < 60:
            raise PlausibilityError(
                f"a pulse that turns the water on resonance by {math.degrees(turn):.4g} deg",
                "the fringes that tell B1 need about one turn: a few µT for milliseconds.",
                "Check units of amplitude and duration; for longer weak saturation take wassr.",
            )

    def forward(self, x: Tensor) -> Tensor:
        """Signal (contrast, *voxels) of (M0, c, B1, dB0)."""
        return self._parts(x)[0].abs()

    def jacobian(self, x: Tensor) -> Tensor:
        """∂signal/∂(M0, c, B1, dB0)."""
        return self.evaluate(x)[1]

    def evaluate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Signal and Jacobian."""
        signed, rows = self._parts(x)
        m0, contrast = x[0], x[1]
        amplitude, detuning, ppm, nominal, duration = rows
        square = amplitude**2 + detuning**2
        effective = square.sqrt()
        tilt, turn = amplitude**2 / square, torch.sin(effective * duration / 2) ** 2
        by_turn = tilt * torch.sin(effective * duration) * duration / 2 / effective
        by_amplitude = 2 * amplitude * (1 - tilt) / square * turn + by_turn * amplitude
        by_detuning = -2 * detuning * tilt / square * turn + by_turn * detuning
        sign = torch.where(signed < 0, -1.0, 1.0).to(signed)
        columns = [
            signed / m0,
            -m0 * tilt * turn,
            -m0 * contrast * by_amplitude * nominal,
            m0 * contrast * by_detuning * ppm,
        ]
        return signed.abs(), torch.stack([sign * column for column in columns], 1)

    def _parts(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Signal with its sign; ω1, dω, rad/s a ppm, nominal ω1, duration."""
        m0, contrast, b1, shift = x
        acquisition = self.acquisition
        ppm = GYROMAGNETIC_RATIO_UT * acquisition.tensor("field_strength", like=x)
        nominal = GYROMAGNETIC_RATIO_UT * acquisition.tensor("saturation_b1", like=x)
        duration = acquisition.tensor("saturation_time", like=x)
        amplitude = (b1 * nominal)[None]
        detuning = (self._times("offset", x) - shift) * ppm
        square = amplitude**2 + detuning**2
        effect = amplitude**2 / square * torch.sin(square.sqrt() * duration / 2) ** 2
        return m0 * (1 - contrast * effect), (amplitude, detuning, ppm, nominal, duration)


@final
class ZAsymmetry(SignalModel):
    """Asymmetry of a Z-spectrum about its water, from interpolated samples.

    The parameters are the samples themselves; what is sought is derived from them. The spectrum is interpolated at
    dB0 ± D (averaged over a window about D): MTRasym = 100 (S(-D) - S(+D))/S0 in percent, or, relative to the other
    side (``negative``), 100 (S(-D) - S(+D))/S(-D), the ratio that glutamate is mapped by. Where dB0 moves a side out
    of the acquired range there is no value.

    Source: Cai 2012 for the latter; Zhu 2023, Eq. 9 (whose factor of 10 is a misprint of 100).

    Args:
        acquisition: offsets on both sides of water.
        shift: D in ppm.
        window: full width in ppm; 3.25 to 3.75 ppm has D 3.5 and ``window`` 0.5.
        relative_to: ``unsaturated`` (S0) or ``negative`` (the other side).
        interpolation: ``spline`` (natural cubic) or ``linear``.
        normalised: whether the samples were divided by S0; otherwise it is the mean of those farthest from water.

    Raises:
        AcquisitionError: D or its mirror image outside the offsets, or no unsaturated image.
        PlausibilityError: D that is no chemical shift.
    """

    title = "Asymmetry of a Z-spectrum, corrected for the shift of water"
    references = ("cai2012", "zhu2023")
    acquisition: ZSpectrum
    RELATIVE: ClassVar = ("unsaturated", "negative")
    INTERPOLATION: ClassVar = ("spline", "linear")

    def __init__(
        self,
        acquisition: ZSpectrum,
        shift: float = 3.5,
        window: float = 0.0,
        relative_to: Literal["unsaturated", "negative"] = "unsaturated",
        interpolation: Literal["spline", "linear"] = "spline",
        normalised: bool = False,
    ) -> None:
        known = Parameter(SHIFT.name, SHIFT.unit, SHIFT.bounds, SHIFT.prior, SHIFT.description, nominal=0.0)
        samples = tuple(
            Parameter(f"S{i}", "arbitrary", (-1e12, 1e12), _likely(offset), f"signal at {offset:g} ppm")
            for i, offset in enumerate(acquisition.offset)
        )
        super().__init__(acquisition, (*samples, known))
        self.non_negative = False
        self.relative_to, self.interpolation, self.normalised = relative_to, interpolation, normalised
        if not 0 < window / 2 < shift <= 10 and not (window == 0 and 0 < shift <= 10):
            raise PlausibilityError(
                f"an asymmetry at {shift:g} ± {window / 2:g} ppm",
                "protons exchange between 0 and 10 ppm from water; it reads like Hz where ppm belong.",
                "Give both in ppm, the window narrower than twice the shift.",
            )
        near = [d for d in acquisition.offset if abs(d) < FAR]
        farthest = max(abs(d) for d in acquisition.offset)
        reach = shift + window / 2
        if not near or max(near) < reach or min(near) > -reach:
            raise AcquisitionError(
                f"offsets from {min(acquisition.offset):g} to {max(acquisition.offset):g} ppm",
                f"an asymmetry at {shift:g} ppm needs the spectrum at {-reach:g} and {reach:g} ppm.",
                "Give all offsets, on both sides of water, in the order of the images.",
            )
        self._far = [i for i, d in enumerate(acquisition.offset) if abs(d) >= max(FAR, 0.9 * farthest)]
        if relative_to == "unsaturated" and not normalised and not self._far:
            raise AcquisitionError(
                f"offsets up to {farthest:g} ppm",
                f"none is far enough from water (from {FAR:g} ppm on) to leave it unsaturated.",
                "Add the unsaturated image with its offset (-300ppm), or say that the images are normalised.",
            )
        self._targets = [shift] if window == 0 else [shift + window * (i / 10 - 0.5) for i in range(11)]
        self.equation = "S"
        name = "MTRasym" if relative_to == "unsaturated" else "GluCEST"
        text = f"asymmetry at {shift:g} ppm, in percent of " + (
            "the unsaturated signal" if relative_to == "unsaturated" else "the signal on the other side"
        )
        self.derived = (
            Derived(Parameter(name, "%", (-math.inf, math.inf), (-100.0, 100.0), text), self._asymmetry),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Signal (contrast, *voxels): the samples."""
        return x[:-1].clone()

    def jacobian(self, x: Tensor) -> Tensor:
        """∂signal/∂x, of ones and zeros."""
        unit = torch.eye(len(x) - 1, len(x), dtype=x.dtype, device=x.device)
        return unit.view(*unit.shape, *(1,) * (x.ndim - 1)).expand(-1, -1, *x.shape[1:]).clone()

    def start(self, data: Tensor, weights: Tensor | None = None) -> Tensor:
        """The samples."""
        return self._clamp(torch.cat([data, torch.zeros_like(data[:1])]))

    def sides(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Spectrum at dB0 - D and dB0 + D with their gradients: values (*voxels), (parameter, *voxels)."""
        found = []
        for sign in (-1, 1):
            value, gradient = torch.zeros_like(x[0]), torch.zeros_like(x)
            for target in self._targets:
                at, slope = self._interpolated(x, x[-1] + sign * target)
                value, gradient = value + at / len(self._targets), gradient + slope / len(self._targets)
            found += [value, gradient]
        return found[0], found[1], found[2], found[3]

    def _asymmetry(self, x: Tensor) -> tuple[Tensor, Tensor]:
        negative, by_negative, positive, by_positive = self.sides(x)
        whole, by_whole = negative, by_negative
        if self.relative_to == "unsaturated":
            whole, by_whole = torch.ones_like(negative), torch.zeros_like(by_negative)
            if not self.normalised:
                whole = x[self._far].mean(0)
                by_whole[self._far] = 1 / len(self._far)
        ratio = (negative - positive) / whole
        return 100 * ratio, 100 * (by_negative - by_positive - ratio * by_whole) / whole

    def _interpolated(self, x: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
        """The spectrum at a place of each voxel, NaN outside; and its gradient by all parameters."""
        knots, mean, curvature = (part.to(x) for part in self._knots)
        samples = x[:-1].reshape(len(x) - 1, -1)
        flat = place.reshape(-1)
        cell = torch.searchsorted(knots, flat.detach().contiguous(), right=True).clamp(1, len(knots) - 1)
        width = knots[cell] - knots[cell - 1]
        t = (flat - knots[cell - 1]) / width
        weights = (1 - t) * mean[cell - 1].T + t * mean[cell].T
        slope = (mean[cell] - mean[cell - 1]).T / width
        if self.interpolation == "spline":
            left, right = curvature[cell - 1].T, curvature[cell].T
            cubic = [(u**3 - u) * width**2 / 6 for u in (1 - t, t)]
            weights = weights + cubic[0] * left + cubic[1] * right
            slope = slope + width / 6 * ((3 * t**2 - 1) * right - (3 * (1 - t) ** 2 - 1) * left)
        value = (weights * samples).sum(0)
        outside = (flat < knots[0]) | (flat > knots[-1])
        value = torch.where(outside, torch.full_like(value, torch.nan), value)
        gradient = torch.cat([weights, (slope * samples).sum(0)[None]])
        return value.reshape(place.shape), gradient.reshape(x.shape)

    @functools.cached_property
    def _knots(self) -> tuple[Tensor, Tensor, Tensor]:
        """Sorted distinct offsets (knot,), the mean sample at each and its second derivative, (knot, sample)."""
        offset = torch.tensor(self.acquisition.offset, dtype=torch.float64)
        distinct = offset.unique()
        distinct = distinct[distinct.abs() < max(FAR, 1.0)]
        same = (offset[None] == distinct[:, None]).double()
        mean = same / same.sum(1, keepdim=True)
        return distinct, mean, _natural_spline(distinct) @ mean


def glutamate(
    acquisition: ZSpectrum, shift: float = 3.0, interpolation: Literal["spline", "linear"] = "spline"
) -> ZAsymmetry:
    """Glutamate-weighted ratio 100 (S(-3) - S(+3))/S(-3) of a Z-spectrum, corrected for the shift of water.

    Source: Cai 2012.
    """
    return ZAsymmetry(acquisition, shift, relative_to="negative", interpolation=interpolation)


def _natural_spline(knots: Tensor) -> Tensor:
    """Second derivatives of the natural cubic spline by its values, (knot, knot)."""
    count = len(knots)
    width = knots.diff()
    left, right = torch.eye(count, dtype=knots.dtype), torch.zeros(count, count, dtype=knots.dtype)
    for i in range(1, count - 1):
        before, after = width[i - 1], width[i]
        left[i, i - 1 : i + 2] = torch.stack([before, 2 * (before + after), after])
        right[i, i - 1 : i + 2] = 6 * torch.stack([1 / before, -1 / before - 1 / after, 1 / after])
    return torch.linalg.solve(left, right)


def _likely(offset: float) -> tuple[float, float]:
    """Where the sample of a brain's Z-spectrum at 3 T lies, within 2 %; from the starting values of the line fit."""
    signal = 1.0
    for name in POOLS["4"]:
        centre, depth, width = _POOLS[name]
        signal -= 0.9 * depth[0] / (1 + (2 * (offset - centre) / width[0]) ** 2)
    return 0.98 * signal, 1.02 * signal


def _require_offsets(acquisition: ZSpectrum, unknowns: int) -> None:
    distinct = len(set(acquisition.offset))
    if distinct < unknowns:
        raise AcquisitionError(
            f"{distinct} different offsets",
            f"the model has {unknowns} unknowns.",
            "Add offsets, or take fewer pools.",
        )
