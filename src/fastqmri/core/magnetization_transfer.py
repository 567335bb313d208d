"""Acquisitions of quantitative magnetisation transfer."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import model_validator

from fastqmri.core.acquisition import (
    Acquisition,
    FlipAngle,
    RepetitionTime,
    _between,
    _number,
)
from fastqmri.core.errors import AcquisitionError, PlausibilityError
from fastqmri.core.units import ANGLE, FREQUENCY, TIME, format_quantity

_DEGREES = "it reads like degrees where radians belong."
SaturationAngle = Annotated[
    float, _number(ANGLE), _between("saturation flip angle", -1e-9, 30.0, ANGLE, _DEGREES)
]
Offset = Annotated[
    float,
    _number(FREQUENCY),
    _between("offset", -500e3, 500e3, FREQUENCY, "it reads like mHz or rad/s where Hz belongs."),
]
PulseDuration = Annotated[
    float,
    _number(TIME),
    _between("pulse duration", 0.0, 1.0, TIME, "it reads like milliseconds where seconds belong."),
]
Bandwidth = Annotated[
    float,
    _number(FREQUENCY),
    _between("pulse bandwidth", 0.0, 1e5, FREQUENCY, "it reads like mHz where Hz belongs."),
]
_LEAST_OFFSET = 100.0


class QuantitativeMagnetizationTransfer(Acquisition):
    """Spoiled gradient echo with one off-resonance pulse before each excitation, at several angles and offsets.

    Attributes:
        saturation_angle: flip angle that each image's saturation pulse would have on resonance, rad; 0 without pulse.
        offset: of the pulse from the water's frequency, Hz, one per image.
        pulse_duration: s.
        repetition_time: s.
        flip_angle: of the excitation, rad; None where the model does not ask for it.
        pulse_shape: of the saturation pulse.
        pulse_bandwidth: full width at half maximum of the Gaussian's spectrum, Hz.
        delay: from the end of the pulse to the excitation, s.
    """

    varies: ClassVar[str] = "offset"
    saturation_angle: tuple[SaturationAngle, ...]
    offset: tuple[Offset, ...]
    pulse_duration: PulseDuration
    repetition_time: RepetitionTime
    flip_angle: FlipAngle | None = None
    pulse_shape: Literal["gauss-hann", "gaussian", "hann", "hard"] = "gauss-hann"
    pulse_bandwidth: Bandwidth = 200.0
    delay: Annotated[float, _number(TIME), _between("delay", -1e-9, 1.0, TIME, "seconds belong here.")] = 0.0

    @model_validator(mode="after")
    def _consistent(self) -> QuantitativeMagnetizationTransfer:
        if len(self.saturation_angle) != len(self.offset):
            raise AcquisitionError(
                f"{len(self.saturation_angle)} saturation angles for {len(self.offset)} offsets",
                "every image needs one of each.",
                "Give both lists in the order of the images.",
            )
        if max(abs(d) for d in self.offset) < _LEAST_OFFSET:
            raise PlausibilityError(
                f"offsets up to {max(abs(d) for d in self.offset):g} Hz",
                "they would saturate the water itself; it reads like kHz or ppm where Hz belongs.",
                "Give offsets in Hz, or with their unit.",
            )
        if max(self.saturation_angle) <= 0:
            raise AcquisitionError(
                "saturation angles that are all zero",
                "no image is saturated.",
                "Give the flip angle of the saturation pulse of each image.",
            )
        if self.pulse_duration + self.delay >= self.repetition_time:
            raise PlausibilityError(
                f"a pulse of {format_quantity(self.pulse_duration, TIME)} and a delay of "
                f"{format_quantity(self.delay, TIME)} every {format_quantity(self.repetition_time, TIME)}",
                "no time is left for the excitation.",
                "Check the units of all three.",
            )
        return self


class BalancedMagnetizationTransfer(Acquisition):
    """Balanced steady-state free precession with excitation pulses of several angles and durations.

    Attributes:
        flip_angle: of each image's pulses, rad.
        pulse_duration: of each image's pulses, s.
        repetition_time: of each image, s.
        pulse_shape: of the pulses.
    """

    varies: ClassVar[str] = "flip_angle"
    flip_angle: tuple[FlipAngle, ...]
    pulse_duration: tuple[PulseDuration, ...]
    repetition_time: tuple[RepetitionTime, ...]
    pulse_shape: Literal["hard", "hann", "sinc"] = "hard"

    @model_validator(mode="after")
    def _consistent(self) -> BalancedMagnetizationTransfer:
        counts = len(self.flip_angle), len(self.pulse_duration), len(self.repetition_time)
        if len(set(counts)) > 1:
            raise AcquisitionError(
                "{} flip angles, {} pulse durations, {} repetition times".format(*counts),
                "every image needs one of each.",
                "Give all lists in the order of the images.",
            )
        for duration, repetition in zip(self.pulse_duration, self.repetition_time, strict=True):
            if duration >= repetition:
                raise PlausibilityError(
                    f"a pulse of {format_quantity(duration, TIME)} every {format_quantity(repetition, TIME)}",
                    "no time is left for the readout.",
                    "Check the units of both.",
                )
        if min(self.flip_angle) >= 1.6:
            raise PlausibilityError(
                f"smallest FlipAngle = {min(self.flip_angle):g} rad",
                "balanced steady states take less than 90 deg; it reads like degrees where radians belong.",
                "Give FlipAngle in rad, or with its unit.",
            )
        return self
