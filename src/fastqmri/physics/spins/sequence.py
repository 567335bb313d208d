"""Sequences as data: pulses, gradients, delays, readouts and their compositions, and the steps that they take."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from pydantic import model_validator
from torch import Tensor

from fastqmri.core import AcquisitionError, PlausibilityError, Schedule
from fastqmri.core.units import GYROMAGNETIC_RATIO

Vector = tuple[float, float, float]
_NOWHERE: Vector = (0.0, 0.0, 0.0)
_HARD: tuple[complex, ...] = (1.0 + 0.0j,)
_STEEPEST = 1.0  # T/m
_LONGEST = 60.0  # s
_NO_AREA = 1e-6


@dataclass(frozen=True)
class Pulse:
    """A radio-frequency pulse.

    Attributes:
        flip_angle: of a nominal B1+ on resonance, in rad. Of a shape without net area: that of its magnitude.
        duration: s; zero is an instantaneous rotation.
        shape: samples at the middle of equal steps, real or complex, of any scale.
        phase: at the middle of the pulse, in rad: the direction that equilibrium is turned
            into, zero for x.
        frequency: of the pulse minus that of the rotating frame, Hz.
        gradient: meanwhile, T/m.
        gradient_shape: factors of ``gradient`` along x, y and z for every sample of the shape; None if constant.
    """

    flip_angle: float
    duration: float = 0.0
    shape: tuple[complex, ...] = _HARD
    phase: float = 0.0
    frequency: float = 0.0
    gradient: Vector = _NOWHERE
    gradient_shape: tuple[Vector, ...] | None = None

    @staticmethod
    def of_amplitude(amplitude: float, duration: float, shape: Tensor, **more: Any) -> Pulse:
        """A pulse given by its peak, γ B1/2π in Hz, as adiabatic pulses are.

        Args:
            amplitude: peak in Hz.
            duration: s.
            shape: samples, of any scale.
            **more: phase, frequency, gradients.
        """
        samples = tuple(complex(v) for v in shape.tolist())
        peak = max(abs(v) for v in samples)
        angle = 2 * math.pi * amplitude * duration / len(samples) * _area(samples) / peak
        return Pulse(angle, duration, samples, **more)


@dataclass(frozen=True)
class Delay:
    """Nothing but precession, relaxation and gradients.

    Attributes:
        duration: s.
        gradient: mean over the duration, T/m: only its area matters where there is no pulse.
    """

    duration: float
    gradient: Vector = _NOWHERE


@dataclass(frozen=True)
class Readout:
    """A sample of the transverse magnetisation.

    Attributes:
        phase: of the receiver, rad.
    """

    phase: float = 0.0


@dataclass(frozen=True)
class Spoiler:
    """Ideal spoiling: the transverse magnetisation is gone."""


Part = Pulse | Delay | Readout | Spoiler


class PulseSequence(Schedule):
    """A sequence as a table: one row an event, which is a pulse or a delay, with its gradients.

    `compose` makes one from parts, `fastqmri.io.read_pulseq` from a file. All columns of numbers can carry gradients
    (`differentiable`).

    Attributes:
        duration: of each event, s.
        flip_angle: of each event, rad; zero where there is no pulse. The angle of step j is this times the j-th
            sample of the waveform.
        phase: of each pulse at its middle, rad.
        frequency: of each pulse, Hz.
        gradient: of each event along x, y and z, T/m.
        waveform: of each event, its index in ``waveforms``.
        gradient_waveform: of each event, its index in ``gradient_waveforms``, -1 where the gradient is constant.
        waveforms: samples as pairs (real, imaginary), one row for each shape, their sum of magnitude one.
        gradient_waveforms: factors (x, y, z) of the gradient for each sample.
        readout: numbers of events after which the signal is read.
        receiver_phase: of each readout, rad.
        spoiler: numbers of events after which (and after whose readout) transverse magnetisation is spoiled.
    """

    varies: ClassVar[str] = "readout"
    least_contrasts: ClassVar[int] = 1
    duration: tuple[float, ...]
    flip_angle: tuple[float, ...]
    phase: tuple[float, ...]
    frequency: tuple[float, ...]
    gradient: tuple[Vector, ...]
    waveform: tuple[int, ...]
    gradient_waveform: tuple[int, ...]
    waveforms: tuple[tuple[tuple[float, float], ...], ...]
    gradient_waveforms: tuple[tuple[Vector, ...], ...]
    readout: tuple[int, ...]
    receiver_phase: tuple[float, ...]
    spoiler: tuple[int, ...] = ()

    @model_validator(mode="after")
    def _belongs_together(self) -> PulseSequence:
        events = len(self.duration)
        columns = ("flip_angle", "phase", "frequency", "gradient", "waveform", "gradient_waveform")
        lengths = {name: len(getattr(self, name)) for name in columns}
        if set(lengths.values()) != {events} or len(self.receiver_phase) != len(self.readout):
            raise AcquisitionError(
                f"a sequence of {events} durations with {lengths}, {len(self.readout)} readouts and "
                f"{len(self.receiver_phase)} receiver phases",
                "every event needs one of each, and so does every readout.",
                "Make the sequence with compose, or complete the columns.",
            )
        last = max((*self.readout, *self.spoiler, 0))
        first = min((*self.readout, *self.spoiler, 1))
        if last > events or first < 1 or list(self.readout) != sorted(self.readout):
            raise AcquisitionError(
                f"readouts or spoilers after events {first} to {last} of {events}",
                "they are numbers of events, counted from one, in rising order.",
                "Number the events from one.",
            )
        for index, rows in (
            (self.waveform, self.waveforms),
            (self.gradient_waveform, self.gradient_waveforms),
        ):
            if max(index) >= len(rows):
                raise AcquisitionError(
                    f"waveform {max(index)} of {len(rows)}", "there is no such one.", "Count from zero."
                )
        for samples, factors in set(zip(self.waveform, self.gradient_waveform, strict=True)):
            if factors >= 0 and len(self.gradient_waveforms[factors]) != len(self.waveforms[samples]):
                raise AcquisitionError(
                    f"{len(self.gradient_waveforms[factors])} gradient samples for "
                    f"{len(self.waveforms[samples])} of the pulse",
                    "during a pulse both have one raster.",
                    "Interpolate the gradient to the samples of the pulse.",
                )
        return self

    @model_validator(mode="after")
    def _plausible(self) -> PulseSequence:
        steepest = max(abs(component) for vector in self.gradient for component in vector)
        if steepest > _STEEPEST:
            raise PlausibilityError(
                f"gradient = {steepest:g} T/m",
                f"no scanner reaches {_STEEPEST:g} T/m; it reads like mT/m where T/m belongs.",
                "Divide by 1000.",
            )
        shortest, longest = min(self.duration), max(self.duration)
        if shortest < 0 or longest > _LONGEST:
            raise PlausibilityError(
                f"durations from {shortest:g} to {longest:g} s",
                f"an event takes between 0 and {_LONGEST:g} s; more reads like milliseconds where seconds belong.",
                "Give durations in s.",
            )
        return self

    def subset(self, keep: Callable[[int], bool]) -> PulseSequence:
        """The same sequence with only the readouts whose index ``keep`` accepts."""
        chosen = [i for i in range(self.contrasts) if keep(i)]
        fields = self.model_dump()
        for name in ("readout", "receiver_phase"):
            fields[name] = tuple(fields[name][i] for i in chosen)
        return PulseSequence(**fields)

    @property
    def readout_time(self) -> tuple[float, ...]:
        """Time of each readout since the beginning, s."""
        ends = torch.tensor(self.duration, dtype=torch.float64).cumsum(0).tolist()
        return tuple(ends[number - 1] for number in self.readout)

    def steps(self) -> Steps:
        """The steps of constant field that a simulation takes, carrying gradients to the columns."""
        lengths = torch.tensor([len(self.waveforms[row]) for row in self.waveform])
        event = torch.repeat_interleave(lengths)
        ends = lengths.cumsum(0)
        within = torch.arange(len(event)) - (ends - lengths)[event]
        duration = (self.tensor("duration") / lengths)[event]
        middle = (within + 0.5 - lengths[event] / 2) * duration
        phase = self.tensor("phase")[event] + 2 * math.pi * self.tensor("frequency")[event] * middle
        tables = [torch.tensor(row, dtype=torch.float64) for row in self.waveforms]
        real, imaginary = torch.cat([tables[row] for row in self.waveform]).unbind(1)
        size, cosine, sine = self.tensor("flip_angle")[event], torch.cos(phase), torch.sin(phase)
        # the axis is a right angle ahead of the direction that equilibrium is turned into
        across = -size * (real * sine + imaginary * cosine)
        along = size * (real * cosine - imaginary * sine)
        gradient = self.tensor("gradient")[event]
        if any(row >= 0 for row in self.gradient_waveform):
            factors = [
                torch.ones(int(n), 3, dtype=torch.float64)
                if row < 0
                else torch.tensor(self.gradient_waveforms[row], dtype=torch.float64)
                for row, n in zip(self.gradient_waveform, lengths, strict=True)
            ]
            gradient = gradient * torch.cat(factors).to(gradient)
        moment = 2 * math.pi * GYROMAGNETIC_RATIO * gradient * duration[:, None]
        last = ends - 1
        readout = torch.full((len(event),), -1)
        readout[last[torch.tensor(self.readout, dtype=torch.int64) - 1]] = torch.arange(len(self.readout))
        spoiled = torch.zeros(len(event), dtype=torch.bool)
        spoiled[last[torch.tensor(self.spoiler, dtype=torch.int64) - 1]] = True
        return Steps(
            torch.cat([across[:, None], along[:, None], moment, duration[:, None]], 1), readout, spoiled
        )


@dataclass(frozen=True)
class Steps:
    """A sequence as `fastqmri.physics.spins.bloch.isochromats` takes it.

    Attributes:
        fields: (step, 6).
        readout: (step,).
        spoiled: (step,).
    """

    fields: Tensor
    readout: Tensor
    spoiled: Tensor


def compose(*parts: Part | Iterable[Any]) -> PulseSequence:
    """A sequence of parts, nested as deeply as is convenient.

    Raises:
        AcquisitionError: no readout, or numbers that contradict each other.
        PlausibilityError: numbers no scanner could be told.
    """
    events: list[Pulse | Delay] = []
    readouts: list[tuple[int, float]] = []
    spoilers: list[int] = []
    for part in _flat(parts):
        if isinstance(part, Readout | Spoiler):
            taken = bool(readouts) and readouts[-1][0] == len(events) and isinstance(part, Readout)
            if not events or taken or (spoilers and spoilers[-1] == len(events)):
                events.append(Delay(0.0))
            if isinstance(part, Readout):
                readouts.append((len(events), part.phase))
            else:
                spoilers.append(len(events))
        else:
            events.append(part)
    if not readouts:
        raise AcquisitionError("a sequence without readout", "it has no signal.", "Add a Readout.")
    waveforms: dict[tuple[tuple[float, float], ...], int] = {((1.0, 0.0),): 0}
    shapes: dict[tuple[complex, ...], int] = {_HARD: 0}
    factors: dict[tuple[Vector, ...], int] = {}
    rows: list[tuple[Any, ...]] = []
    for event in events:
        if isinstance(event, Delay):
            rows.append((event.duration, 0.0, 0.0, 0.0, event.gradient, 0, -1))
            continue
        if event.shape not in shapes:
            area = _area(event.shape)
            normalised = tuple((v.real / area, v.imag / area) for v in map(complex, event.shape))
            shapes[event.shape] = waveforms.setdefault(normalised, len(waveforms))
        index = -1
        if event.gradient_shape is not None:
            index = factors.setdefault(event.gradient_shape, len(factors))
        turns = event.phase, event.frequency
        rows.append((event.duration, event.flip_angle, *turns, event.gradient, shapes[event.shape], index))
    columns = tuple(zip(*rows, strict=True))
    names = ("duration", "flip_angle", "phase", "frequency", "gradient", "waveform", "gradient_waveform")
    return PulseSequence(
        **dict(zip(names, columns, strict=True)),
        waveforms=tuple(waveforms),
        gradient_waveforms=tuple(factors),
        readout=tuple(number for number, _ in readouts),
        receiver_phase=tuple(phase for _, phase in readouts),
        spoiler=tuple(spoilers),
    )


def inversion(delay: float, pulse: Pulse | None = None) -> tuple[Part, ...]:
    """An inversion (an instantaneous one by default), spoiling, and the inversion time after it."""
    return pulse or Pulse(math.pi), Spoiler(), Delay(delay)


def t2_preparation(
    echo_time: float, refocusings: int = 2, excitation: Pulse | None = None, refocusing: Pulse | None = None
) -> tuple[Part, ...]:
    """90°, equally spaced refocusing pulses a right angle ahead, and the way back: leaves exp(-TE/T2) along z.

    Args:
        echo_time: s, between the middles of the two 90° pulses.
        refocusings: even, so that imperfect ones make up for each other.
        excitation: its phase is set here; an instantaneous one by default.
        refocusing: its phase is set here; an instantaneous one by default.

    Raises:
        AcquisitionError: an odd number of refocusing pulses, or pulses longer than the time between them.
    """
    tip, turn = excitation or Pulse(math.pi / 2), refocusing or Pulse(math.pi)
    half = echo_time / (2 * refocusings) if refocusings > 0 else 0.0
    outer, inner = half - (tip.duration + turn.duration) / 2, 2 * half - turn.duration
    if refocusings < 2 or refocusings % 2 or min(outer, inner) < 0:
        raise AcquisitionError(
            f"a T2 preparation of {echo_time:g} s with {refocusings} refocusing pulses",
            "their number must be even, and they must fit between the 90° pulses.",
            "Take two or four, and a longer echo time.",
        )
    parts: list[Part] = [_phased(tip, 0.0), Delay(outer)]
    for i in range(refocusings):
        parts += [_phased(turn, math.pi / 2), Delay(inner if i + 1 < refocusings else outer)]
    return (*parts, _phased(tip, math.pi), Spoiler())


def selective(
    flip_angle: float,
    duration: float,
    shape: Tensor,
    thickness: float,
    time_bandwidth: float,
    phase: float = 0.0,
) -> tuple[Pulse, Delay]:
    """A slice-selective pulse along z, and the half of its gradient that rephases it, just as strong.

    Args:
        flip_angle: rad.
        duration: s.
        shape: samples, of any scale.
        thickness: of the slice, m.
        time_bandwidth: bandwidth of the shape times its duration.
        phase: rad.
    """
    strength = time_bandwidth / (duration * GYROMAGNETIC_RATIO * thickness)
    samples = tuple(complex(v) for v in shape.tolist())
    pulse = Pulse(flip_angle, duration, samples, phase, gradient=(0.0, 0.0, strength))
    return pulse, Delay(duration / 2, (0.0, 0.0, -strength))


def trapezoid(amplitude: Vector, rise: float, flat: float, fall: float | None = None) -> Delay:
    """A trapezoidal gradient lobe: amplitude in T/m, times in s."""
    fall = rise if fall is None else fall
    total = rise + flat + fall
    share = (flat + (rise + fall) / 2) / total
    x, y, z = (component * share for component in amplitude)
    return Delay(total, (x, y, z))


def spoiling_phase(number: int, increment: float = math.radians(117)) -> float:
    """Phase of the pulse ``number`` (from zero) of a train with quadratic radio-frequency spoiling, rad."""
    return math.fmod(increment * number * (number + 1) / 2, 2 * math.pi)


def _phased(pulse: Pulse, phase: float) -> Pulse:
    return Pulse(
        pulse.flip_angle,
        pulse.duration,
        pulse.shape,
        phase,
        pulse.frequency,
        pulse.gradient,
        pulse.gradient_shape,
    )


def _area(samples: tuple[complex, ...]) -> float:
    """Magnitude of the sum, or the sum of magnitudes where that vanishes."""
    size = sum(abs(v) for v in samples)
    net = abs(sum(samples))
    if size == 0:
        raise AcquisitionError(
            "a pulse whose samples are all zero", "it turns nothing.", "Use a Delay, or give its shape."
        )
    return net if net > _NO_AREA * size else size


def _flat(parts: Iterable[Any]) -> Iterable[Part]:
    for part in parts:
        if isinstance(part, Pulse | Delay | Readout | Spoiler):
            yield part
        else:
            yield from _flat(part)
