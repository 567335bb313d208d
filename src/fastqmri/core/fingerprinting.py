"""Fingerprinting: trains of many excitations whose angles, times and preparations never let the signal settle."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import AfterValidator, model_validator
from torch import Tensor

from fastqmri.core.acquisition import InversionTime, Schedule, _between, _number
from fastqmri.core.errors import AcquisitionError, PlausibilityError
from fastqmri.core.units import ANGLE, TIME, format_quantity

_MS = "it reads like milliseconds where seconds belong."
_DEGREES = "it reads like degrees where radians belong."
_HALF_TURN = math.pi + 1e-6
TrainAngle = Annotated[
    float, _number(ANGLE), _between("FlipAngle of a train", 0.0, _HALF_TURN, ANGLE, _DEGREES, lowest=True)
]
TrainRepetition = Annotated[float, _number(TIME), _between("RepetitionTime of a train", 0.0, 5.0, TIME, _MS)]
TrainEcho = Annotated[float, _number(TIME), _between("EchoTime of a train", 0.0, 0.5, TIME, _MS, lowest=True)]
Heartbeat = Annotated[float, _number(TIME), _between("RR interval", 0.2, 3.0, TIME, _MS)]
PreparationTime = Annotated[
    float, _number(TIME), _between("PreparationTime", 0.0, 5.0, TIME, _MS, lowest=True)
]
Phase = Annotated[float, _number(ANGLE), AfterValidator(lambda value: _phase(value))]
Preparation = Literal["none", "inversion", "t2prep"]
Spoiling = Literal["gradient", "rf", "balanced"]

_LONGEST_T2_PREPARATION = 0.5


class Fingerprinting(Schedule):
    """A train of excitations, one image each, optionally in heartbeats with a preparation each.

    Numbers that are the same for all excitations may be given once.

    Attributes:
        flip_angle: nominal flip angle of every excitation in rad; zeros are pauses in which nothing is excited.
        repetition_time: from every excitation to the next in s.
        echo_time: from every excitation to its echo in s.
        rf_phase: phase of every excitation in rad; the receiver follows it.
        spoiling: ``gradient``, the same unbalanced gradient moment in every repetition; ``rf``, the same with
            `phase_increment` on top; ``balanced``, no dephasing at all (on resonance).
        phase_increment: with ``rf`` spoiling the n-th excitation has the additional phase
            phase_increment * n (n + 1) / 2, in rad.
        inversion_time: from an adiabatic inversion to the first excitation in s; None without inversion.
        segment_length: excitations in each heartbeat; empty where the train is not triggered.
        preparation: what precedes each heartbeat's excitations: ``none``, ``inversion`` or ``t2prep``.
        preparation_time: inversion time or echo time of the T2 preparation of each heartbeat in s; 0 for none.
        rr_interval: from each heartbeat's preparation to the next one's in s; the last one has no effect.

    Raises:
        PlausibilityError: numbers in another unit than they belong.
        AcquisitionError: numbers that don't fit together.
    """

    varies: ClassVar[str] = "flip_angle"
    least_contrasts: ClassVar[int] = 1  # constant angles make a curve too, the approach to the steady state

    flip_angle: tuple[TrainAngle, ...]
    repetition_time: tuple[TrainRepetition, ...]
    echo_time: tuple[TrainEcho, ...]
    rf_phase: tuple[Phase, ...] = ()
    spoiling: Spoiling = "gradient"
    phase_increment: Phase = math.radians(117)
    inversion_time: InversionTime | None = None
    segment_length: tuple[int, ...] = ()
    preparation: tuple[Preparation, ...] = ()
    preparation_time: tuple[PreparationTime, ...] = ()
    rr_interval: tuple[Heartbeat, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _once_for_all(cls, fields: Any) -> Any:
        """Repeat what was given once."""
        angles = fields.get("flip_angle")
        if not isinstance(angles, (tuple, list)):
            return fields
        fields = {**fields, "rf_phase": fields.get("rf_phase") or 0.0}
        for name in ("repetition_time", "echo_time", "rf_phase"):
            if isinstance(fields.get(name), (int, float, str)):
                fields[name] = (fields[name],) * len(angles)
        return fields

    @model_validator(mode="after")
    def _fits(self) -> Fingerprinting:
        count = len(self.flip_angle)
        if count < 2:
            raise AcquisitionError(
                f"a train of {count} excitation",
                "one image says nothing about T1 and T2.",
                "Give the flip angles of all excitations.",
            )
        for name in ("repetition_time", "echo_time", "rf_phase"):
            if len(getattr(self, name)) != count:
                raise AcquisitionError(
                    f"{len(getattr(self, name))} values of {name} for {count} flip angles",
                    "every excitation needs one of each.",
                    f"Give one for all excitations, or {count}.",
                )
        for i, (echo, repetition) in enumerate(zip(self.echo_time, self.repetition_time, strict=True)):
            if echo >= repetition:
                raise PlausibilityError(
                    f"EchoTime = {echo:g} s with RepetitionTime = {repetition:g} s (excitation {i})",
                    "the next excitation would come before the echo.",
                    "Check the units of both.",
                )
        if not max(self.flip_angle) > 0:
            raise PlausibilityError("flip angles that are all zero", "nothing is excited.", "Check them.")
        self._heartbeats(count)
        return self

    def _heartbeats(self, count: int) -> None:
        beats = len(self.segment_length)
        fields = ("preparation", "preparation_time", "rr_interval")
        for name in fields:
            if len(getattr(self, name)) != beats:
                raise AcquisitionError(
                    f"{len(getattr(self, name))} values of {name} for {beats} segments",
                    "every heartbeat needs its number of excitations, preparation and RR interval.",
                    "Give segment_length, preparation, preparation_time and rr_interval of equal length.",
                )
        if not beats:
            return
        if sum(self.segment_length) != count or min(self.segment_length) < 1:
            raise AcquisitionError(
                f"segments of {sum(self.segment_length)} excitations for {count} flip angles",
                "each excitation belongs to one heartbeat.",
                "Make segment_length add up to the number of flip angles.",
            )
        if self.inversion_time is not None:
            raise AcquisitionError(
                "inversion_time beside heartbeats",
                "their preparations say where the inversions are.",
                "Give it as the preparation_time of a preparation 'inversion'.",
            )
        first = 0
        for beat, length in enumerate(self.segment_length):
            kind, time = self.preparation[beat], self.preparation_time[beat]
            if (kind == "none") != (time <= 0):
                raise AcquisitionError(
                    f"preparation {kind!r} of {time:g} s in heartbeat {beat}",
                    "an inversion or T2 preparation takes time, none takes none.",
                    "Give 0 where there is no preparation.",
                )
            if kind == "t2prep" and time > _LONGEST_T2_PREPARATION:
                raise PlausibilityError(
                    f"T2 preparation of {time:g} s",
                    f"nothing would be left of the signal; {_MS}",
                    "Give PreparationTime in s, or with its unit.",
                )
            busy = time + sum(self.repetition_time[first : first + length])
            if beat < len(self.segment_length) - 1 and busy > self.rr_interval[beat] + 1e-9:
                raise AcquisitionError(
                    f"heartbeat {beat} of {format_quantity(self.rr_interval[beat], TIME)}",
                    f"its preparation and excitations take {format_quantity(busy, TIME)}.",
                    "Check the units, or acquire fewer images in a heartbeat.",
                )
            first += length

    @property
    def duration(self) -> float:
        """Seconds from the first preparation to the end of the last repetition."""
        if not self.segment_length:
            return (self.inversion_time or 0.0) + sum(self.repetition_time)
        last = self.preparation_time[-1] + sum(self.repetition_time[-self.segment_length[-1] :])
        return sum(self.rr_interval[:-1]) + last

    def phases(self) -> Tensor:
        """(contrast,) phase of every excitation in rad, that of RF spoiling included, float64."""
        given = self.tensor("rf_phase").double()
        if self.spoiling != "rf":
            return given
        n = torch.arange(self.contrasts, dtype=torch.float64)
        turns = n * (n + 1) / 2
        increment = self.tensor("phase_increment").double()
        return given + torch.remainder(increment * turns, 2 * math.pi)

    def subset(self, keep: Callable[[int], bool]) -> Fingerprinting:
        """Not possible: every excitation acts on all that follow.

        Raises:
            AcquisitionError: always, unless everything is kept.
        """
        if all(keep(i) for i in range(self.contrasts)):
            return self
        raise AcquisitionError(
            "fingerprinting images to be left out",
            "every excitation acts on the images after it, taken or not.",
            "Give all images of the train.",
        )


def _phase(value: float) -> float:
    if abs(value) > 2 * math.pi + 1e-6:
        raise PlausibilityError(
            f"phase = {value:g} rad",
            f"it is more than a turn; {_DEGREES}",
            "Give phases in rad, or with their unit.",
        )
    return value
