"""What the scanner was told in pulsed-gradient diffusion experiments whose timing matters."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import model_validator

from fastqmri.core.acquisition import Acquisition, _between, _number
from fastqmri.core.errors import AcquisitionError
from fastqmri.core.units import GRADIENT, TIME

_MS = "it reads like milliseconds where seconds belong."
GradientAmplitude = Annotated[
    float,
    _number(GRADIENT),
    _between("GradientAmplitude", -1e-12, 100.0, GRADIENT, "it reads like mT/m where T/m belongs."),
]
Time = Annotated[float, _number(TIME), _between("Time", 0.0, 10.0, TIME, _MS)]


class PulsedGradient(Acquisition):
    """Two rectangular gradient pulses around a refocusing pulse (or stimulated echo): PGSE.

    Attributes:
        gradient_amplitude: of each image, T/m.
        pulse_duration: δ of each image, or one for all, s.
        pulse_separation: Δ of each image, from the beginning of one pulse to that of the other, or one for all, s.
    """

    varies: ClassVar[str] = "gradient_amplitude"
    gradient_amplitude: tuple[GradientAmplitude, ...]
    pulse_duration: tuple[Time, ...]
    pulse_separation: tuple[Time, ...]

    @model_validator(mode="before")
    @classmethod
    def _one_for_all(cls, fields: Any) -> Any:
        count = len(fields.get("gradient_amplitude", ()))
        filled = dict(fields)
        for name in ("pulse_duration", "pulse_separation"):
            value = filled.get(name)
            if isinstance(value, int | float | str):
                value = (value,)
            if value is not None and len(value) == 1:
                value = tuple(value) * count
            filled[name] = value
        return filled

    @model_validator(mode="after")
    def _in_order(self) -> PulsedGradient:
        counts = {len(self.pulse_duration), len(self.pulse_separation), len(self.gradient_amplitude)}
        if len(counts) > 1:
            raise AcquisitionError(
                f"{len(self.pulse_duration)} pulse durations and {len(self.pulse_separation)} separations for "
                f"{len(self.gradient_amplitude)} images",
                "every image needs one of each.",
                "Give one for all, or one for each image.",
            )
        for duration, separation in zip(self.pulse_duration, self.pulse_separation, strict=True):
            if separation < duration:
                raise AcquisitionError(
                    f"pulses of {duration:g} s that begin {separation:g} s apart",
                    "the second would begin before the first ends.",
                    "The separation counts from beginning to beginning; check both.",
                )
        return self
