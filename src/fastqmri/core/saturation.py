"""What the scanner was told in saturation experiments: CEST, magnetisation transfer, their fingerprints."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from fastqmri.core.acquisition import (
    Acquisition,
    FlipAngle,
    Schedule,
    _between,
    _number,
)
from fastqmri.core.errors import AcquisitionError, PlausibilityError
from fastqmri.core.units import FIELD, OFFSET, SATURATION_B1, TIME

_MS = "it reads like milliseconds where seconds belong."
Offset = Annotated[
    float,
    _number(OFFSET),
    _between("Offset", -500.0, 500.0, OFFSET, "it reads like Hz where ppm belong."),
]
SaturationB1 = Annotated[
    float,
    _number(SATURATION_B1),
    _between("SaturationB1", -1e-12, 500.0, SATURATION_B1, "it reads like nT or Hz where µT belong."),
]
FieldStrength = Annotated[
    float,
    _number(FIELD),
    _between("MagneticFieldStrength", 0.01, 30.0, FIELD, "it reads like MHz or mT where T belong."),
]
Duration = Annotated[float, _number(TIME), _between("Duration", -1e-12, 30.0, TIME, _MS)]

EchoDelay = Annotated[float, _number(TIME), _between("EchoTime", -1e-12, 1.0, TIME, _MS)]

_PER_CONTRAST = ("saturation_b1", "pulse_duration", "recovery_time")


def _plausible_b1(values: tuple[float, ...]) -> None:
    largest = max(values)
    if 0 < largest < 0.01:
        raise PlausibilityError(
            f"largest SaturationB1 = {largest:g} uT",
            "it saturates nothing; it reads like T or mT where µT belong.",
            "Give SaturationB1 in µT, or with its unit.",
        )


class ZSpectrum(Acquisition):
    """Images at many saturation offsets, divided by the unsaturated one: a Z-spectrum.

    Attributes:
        offset: of the saturation from the nominal water frequency, in ppm.
        saturation_b1: amplitude of the saturation in µT, where known.
        saturation_time: its duration in s, where known.
        field_strength: in T, where known.
    """

    varies: ClassVar[str] = "offset"
    least_contrasts: ClassVar[int] = 3
    offset: tuple[Offset, ...]
    saturation_b1: SaturationB1 | None = None
    saturation_time: Duration | None = None
    field_strength: FieldStrength | None = None

    @model_validator(mode="after")
    def _saturates(self) -> ZSpectrum:
        if self.saturation_b1 is not None:
            _plausible_b1((self.saturation_b1,))
        return self


class SaturationTransfer(Schedule):
    """Saturation, then a readout, for each contrast: Z-spectra, and CEST and MTC fingerprints.

    A contrast is: recovery, ``pulses`` equal saturation pulses with ``pulse_delay`` between them, ``spoil_time``, in
    which the transverse magnetisation is destroyed, readout. Continuous saturation is one rectangular pulse. A single
    number for a field that has one a contrast serves all contrasts.

    Attributes:
        offset: of the saturation from the nominal water frequency, in ppm.
        saturation_b1: amplitude of a pulse in µT: what a sample of the shape that is one stands for.
        pulse_duration: of one saturation pulse in s.
        recovery_time: between the preceding readout and the saturation in s.
        field_strength: in T.
        pulses: saturation pulses in each contrast.
        pulse_delay: between two of them in s.
        pulse_shape: amplitudes of equally long steps, relative to ``saturation_b1``; one step is a rectangle.
        initial: magnetisation that the recovery starts from: what the ``previous`` contrast left (the first one
            begins in equilibrium), ``equilibrium``, or ``zero``, as after a readout that destroys it.
        spin_lock: ideal pulses tip the magnetisation onto the effective field before each pulse, and back after it.
        spoiled_pulses: whether the transverse magnetisation is destroyed after every pulse.
        spoiled_saturation: whether it is destroyed after the last pulse (if the longitudinal magnetisation is the
            signal, it makes no difference).
        spoil_time: from the end of the saturation to the readout in s.
        flip_angle: of the readout in rad; None if the longitudinal magnetisation itself is the signal.
        readout_phase: of the readout's axis from the irradiation's at its end, in rad; it matters where the saturation
            is not spoiled.
        echo_time: from the readout's excitation to the signal in s.
        readouts: excitations in each contrast, ``echo_time`` apart; the signal is that of the first.
        spoiled_readouts: whether the transverse magnetisation is destroyed after each echo.
    """

    varies: ClassVar[str] = "offset"
    least_contrasts: ClassVar[int] = 1
    offset: tuple[Offset, ...]
    saturation_b1: tuple[SaturationB1, ...]
    pulse_duration: tuple[Duration, ...]
    recovery_time: tuple[Duration, ...]
    field_strength: FieldStrength
    pulses: Annotated[int, Field(ge=1, le=10_000)] = 1
    pulse_delay: Duration = 0.0
    pulse_shape: tuple[float, ...] = (1.0,)
    initial: Literal["previous", "equilibrium", "zero"] = "equilibrium"
    spin_lock: bool = False
    spoiled_pulses: bool = False
    spoiled_saturation: bool = True
    spoil_time: Duration = 0.0
    flip_angle: FlipAngle | None = None
    readout_phase: float = 0.0
    echo_time: EchoDelay = 0.0
    readouts: Annotated[int, Field(ge=1, le=1000)] = 1
    spoiled_readouts: bool = True

    @model_validator(mode="before")
    @classmethod
    def _one_for_all(cls, fields: Any) -> Any:
        if not isinstance(fields, dict) or not isinstance(fields.get("offset"), (tuple, list)):
            return fields
        count = len(fields["offset"])
        spread = {
            name: (value,) * count if isinstance(value, (int, float, str)) else value
            for name, value in fields.items()
            if name in _PER_CONTRAST
        }
        return {**fields, **spread}

    @model_validator(mode="after")
    def _complete(self) -> SaturationTransfer:
        for name in _PER_CONTRAST:
            if len(getattr(self, name)) != self.contrasts:
                raise AcquisitionError(
                    f"{len(getattr(self, name))} values of {name} for {self.contrasts} offsets",
                    "every contrast needs one, or all of them the same.",
                    f"Give one {name}, or one for each offset.",
                )
        told = set(zip(self.offset, self.saturation_b1, self.pulse_duration, self.recovery_time, strict=True))
        if len(told) < 2:
            raise AcquisitionError(
                f"{self.contrasts} contrasts that are all the same",
                "nothing varies between them, so that they hold one number.",
                "Vary the offset, the amplitude, or the times.",
            )
        _plausible_b1(self.saturation_b1)
        if not self.pulse_shape or max(abs(step) for step in self.pulse_shape) == 0:
            raise AcquisitionError(
                f"a pulse shape of {len(self.pulse_shape)} steps, all zero",
                "it saturates nothing.",
                "Give relative amplitudes, or leave the shape out for a rectangle.",
            )
        if self.flip_angle is not None and self.flip_angle > math.pi + 1e-6:
            raise PlausibilityError(
                f"FlipAngle = {self.flip_angle:g} rad",
                "a readout flips by no more than half a turn.",
                "Give FlipAngle in rad, or with its unit.",
            )
        return self

    def subset(self, keep: Callable[[int], bool]) -> SaturationTransfer:
        """The same acquisition with only the contrasts whose index ``keep`` accepts."""
        chosen = [i for i in range(self.contrasts) if keep(i)]
        fields = self.model_dump()
        for name in (self.varies, *_PER_CONTRAST):
            fields[name] = tuple(fields[name][i] for i in chosen)
        return type(self)(**fields)
