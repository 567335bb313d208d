"""Signals of fingerprinting trains, by extended phase graphs."""

from __future__ import annotations

import copy
import functools
import math
from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from fastqmri.core import AcquisitionError, Fingerprinting, Parameter
from fastqmri.physics.signal.model import Derived, SignalModel, inverse_of
from fastqmri.physics.signal.relaxometry import B1, M0
from fastqmri.physics.spins import epg, graphs

T1 = Parameter("T1", "s", (0.005, 10.0), (0.05, 4.0), "longitudinal relaxation time")
T2 = Parameter("T2", "s", (0.001, 5.0), (0.005, 0.6), "transverse relaxation time")
EFFICIENCY = Parameter(
    "inversion_efficiency",
    "1",
    (0.3, 1.0),
    (0.9, 1.0),
    "efficiency of the inversions (1 is perfect)",
    nominal=1.0,
)
PHASE = Parameter("phase", "rad", (-20.0, 20.0), (0.0, 0.0), "phase of all images")

_HALF_WIDTHS = 1.6
_POSITIONS = 11
_GRID = 48
_NEGLIGIBLE = 1e-4
_STEP = 10


@final
class FingerprintingSignal(SignalModel):
    """Images of a fingerprinting train.

    Extended phase graphs: pulses mix the states of each winding number, relaxation damps them, the gradient of each
    repetition winds them up. Every flip angle is scaled by B1, every inversion by its efficiency.
    With a slice profile the signal is the average over places in the slice that see fractions of the flip angle.

    Source: Jiang 2015; extended phase graphs as in Weigel 2015.

    Args:
        acquisition: the train.
        signal: ``magnitude``, ``complex``, or ``real``: signed along the axis of the first excitation, for trains
            whose pulses all have the same axis.
        profile: ``ideal``, or ``gaussian``: the flip angle falls off across the slice as a Gaussian does, to 17 %
            at the edge (our choice; 11 places from the middle outwards).
        states: how many states are kept; ``auto`` takes, in steps of ten, as many as ten more would not change by
            1e-4 of the full magnetisation, for the longest T2 of the prior range. That depends on schedule and
            priors only. Balanced trains have one.
        compiled: allow compiled kernels; without them the same numbers come more slowly.

    Raises:
        AcquisitionError: ``real`` where pulses have several axes, or fewer than two states.
    """

    title = "Fingerprinting"
    equation = "M0 * F_0 of the extended phase graph at every echo"
    references = ("ma2013", "jiang2015", "weigel2015")
    acquisition: Fingerprinting
    SIGNALS: ClassVar = ("magnitude", "real", "complex")
    PROFILES: ClassVar = ("ideal", "gaussian")

    def __init__(
        self,
        acquisition: Fingerprinting,
        signal: Literal["magnitude", "real", "complex"] = "magnitude",
        profile: Literal["ideal", "gaussian"] = "ideal",
        states: int | Literal["auto"] = "auto",
        *,
        compiled: bool = True,
    ) -> None:
        train = epg.train_of(acquisition)
        parameters = [M0, T1, T2, B1]
        if train.inverts:
            parameters.append(EFFICIENCY)
        if signal == "complex":
            parameters.append(PHASE)
        super().__init__(acquisition, tuple(parameters))
        self._inverts, self._signal, self._compiled = train.inverts, signal, compiled
        if signal == "real" and train.phase is not None:
            raise AcquisitionError(
                "real images of a train whose pulses have several axes",
                "its signal has two components.",
                "Take magnitude or complex images.",
            )
        if states != "auto" and states < 2 and train.shifts:
            raise AcquisitionError(
                f"{states} states",
                "echoes need at least two.",
                "Ask for more, or for 'auto'.",
            )
        place = torch.linspace(0, _HALF_WIDTHS, _POSITIONS, dtype=torch.float64)
        self._fractions = torch.exp2(-(place**2)) if profile == "gaussian" else None
        self._planned, self._states = acquisition, None if states == "auto" else states
        self.complex_valued = signal == "complex"
        self.non_negative = signal == "magnitude"
        rows = len(parameters)
        self.derived: tuple[Derived, ...] = (
            inverse_of("R1", "1/s", 1, rows, "longitudinal relaxation rate, 1/T1"),
            inverse_of("R2", "1/s", 2, rows, "transverse relaxation rate, 1/T2"),
        )

    @property
    def states(self) -> int:
        """States kept; where they are found automatically, that is done when they are first asked for."""
        if self._states is None:
            self._states = enough_states(self._planned)
        return self._states

    def forward(self, x: Tensor) -> Tensor:
        """Signal (contrast, *voxels) of (M0, T1, T2, B1[, inversion_efficiency][, phase])."""
        return self._observed(x, self._unit(x))

    def jacobian(self, x: Tensor) -> Tensor:
        """∂signal/∂(M0, T1, T2, B1[, inversion_efficiency][, phase])."""
        return self.evaluate(x)[1]

    def evaluate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Signal and Jacobian in one pass."""
        return self.tissue_derivatives(x, tuple(p.name for p in self.parameters))

    def tissue_derivatives(self, x: Tensor, names: tuple[str, ...]) -> tuple[Tensor, Tensor]:
        """Signal and its derivatives by some parameters only, (contrast, name, *voxels), in one pass."""
        rows = [p.name for p in self.parameters]
        wanted = [rows.index(name) for name in names]
        simulated = [i for i in wanted if 0 < i < 4 + self._inverts]
        unit, slopes = self._unit_and_slopes(x, simulated)
        signal = self._observed(x, unit)
        by_row = {i: x[0] * slope for i, slope in zip(simulated, slopes, strict=True)}
        by_row[0] = unit
        if self._signal == "magnitude":
            size = unit.abs()
            safe = torch.where(size > 0, size, torch.ones_like(size))
            direction = torch.where(size > 0, unit / safe, torch.zeros_like(unit)).conj()
            by_row = {i: (direction * slope).real for i, slope in by_row.items()}
        elif self._signal == "complex":
            turn = torch.exp(1j * x[-1])
            by_row = {i: turn * slope for i, slope in by_row.items()}
            by_row[len(rows) - 1] = 1j * signal
        return signal, torch.stack([by_row[i] for i in wanted], 1)

    def evaluate_estimated(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Signal and its derivatives by what a fit estimates: B1 and efficiency cost nothing."""
        return self.tissue_derivatives(x, tuple(self.parameters[i].name for i in self.estimated))

    def with_schedule(self, **values: Tensor) -> FingerprintingSignal:
        """The same model with fields of its schedule given as tensors that carry gradients.

        The number of states stays that of the schedule's own numbers.

        Raises:
            AcquisitionError: as `Acquisition.differentiable`.
        """
        moved = copy.copy(self)
        moved.acquisition = self.acquisition.differentiable(**values)
        return moved

    def start(self, data: Tensor, weights: Tensor | None = None) -> Tensor:
        """The best match in a small dictionary of T1 and T2; the phase from the match itself."""
        x = super().start(data, weights)
        if self.complex_valued:
            used = data if weights is None else data * weights
            x[-1] = (self(x).conj() * used).sum(0).angle()
        return x

    def _dictionary(self, data: Tensor) -> tuple[Tensor, Tensor]:
        points = torch.cartesian_prod(*(_logarithmic(p.prior, _GRID) for p in (T1, T2))).T
        x = torch.ones(len(self.parameters), points.shape[1], dtype=torch.float64)
        x[1:3] = points
        if self.complex_valued:
            x[-1] = 0
        x = x.to(data.real.dtype)
        return self.forward(x), x

    def _observed(self, x: Tensor, unit: Tensor) -> Tensor:
        if self._signal == "magnitude":
            return x[0] * unit.abs()
        return x[0] * torch.exp(1j * x[-1]) * unit if self._signal == "complex" else x[0] * unit

    def _unit(self, x: Tensor) -> Tensor:
        """Echoes of unit magnetisation, averaged over the slice."""
        train = epg.train_of(self.acquisition)
        found = graphs.echoes(train, *self._places(x), self.states, compiled=self._compiled)
        return found if self._fractions is None else found.mean(1)

    def _unit_and_slopes(self, x: Tensor, rows: list[int]) -> tuple[Tensor, list[Tensor]]:
        """Echoes of unit magnetisation and their derivatives by some rows of ``x``."""
        train, by = epg.train_of(self.acquisition), tuple(graphs.TISSUE[row - 1] for row in rows)
        unit, slopes = graphs.echoes_with_slopes(
            train, *self._places(x), self.states, by, compiled=self._compiled
        )
        if self._fractions is None:
            return unit, slopes
        fraction = self._fractions.to(x).view(-1, *(1,) * (x.ndim - 1))
        slopes = [slope * fraction if name == "b1" else slope for name, slope in zip(by, slopes, strict=True)]
        return unit.mean(1), [slope.mean(1) for slope in slopes]

    def _places(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """T1, T2, B1 and efficiency; with a slice profile for every place in the slice, (place, *voxels)."""
        t1, t2, b1 = x[1], x[2], x[3]
        efficiency = x[4] if self._inverts else torch.ones_like(t1)
        if self._fractions is None:
            return t1, t2, b1, efficiency
        shape = (len(self._fractions), *t1.shape)
        fraction = self._fractions.to(x).view(-1, *(1,) * t1.ndim)
        return t1.expand(shape), t2.expand(shape), b1 * fraction, efficiency.expand(shape)


def _logarithmic(prior: tuple[float, float], count: int) -> Tensor:
    low, high = (math.log10(end) for end in prior)
    return torch.logspace(low, high, count, dtype=torch.float64)


@functools.lru_cache(maxsize=64)
def enough_states(acquisition: Fingerprinting) -> int:
    """States of which ten more change no signal by 1e-4 of the full magnetisation, for the longest T2 of the prior."""
    train = epg.train_of(acquisition)
    if not train.shifts:
        return 1
    exact = acquisition.contrasts // 2 + 1
    t1 = torch.tensor([T2.prior[1], 2.0, T1.prior[1]], dtype=torch.float64).repeat(3)
    t2 = torch.full_like(t1, T2.prior[1])
    b1 = torch.tensor(B1.prior, dtype=torch.float64)
    b1 = torch.cat([b1, torch.ones(1, dtype=torch.float64)]).repeat_interleave(3)

    def signal(states: int) -> Tensor:
        return graphs.echoes(train, t1, t2, b1, torch.ones_like(t1), states)

    count = 2 * _STEP
    fewer = signal(min(count, exact))
    while count < exact:
        more = signal(min(count + _STEP, exact))
        if float((more - fewer).abs().max()) < _NEGLIGIBLE / 2:
            break
        count, fewer = count + _STEP, more
    return min(count, exact)
