"""Spin-echo trains whose refocusing angles change from echo to echo."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

from pydantic import model_validator

from fastqmri.core.acquisition import Schedule, _between, _number
from fastqmri.core.errors import AcquisitionError, PlausibilityError
from fastqmri.core.fingerprinting import TrainAngle
from fastqmri.core.units import TIME

_MS = "it reads like milliseconds where seconds belong."
EchoSpacing = Annotated[float, _number(TIME), _between("EchoSpacing", 0.0, 0.5, TIME, _MS)]


class RefocusingTrain(Schedule):
    """One excitation and a train of refocusing pulses about the axis of the magnetisation, an echo after each.

    Attributes:
        refocusing_angle: nominal angle of every refocusing pulse in rad.
        echo_spacing: between echoes in s; the first pulse comes half of it after the excitation.
        excitation_angle: nominal, in rad.

    Raises:
        PlausibilityError: numbers in another unit than they belong.
        AcquisitionError: fewer than two echoes.
    """

    varies: ClassVar[str] = "refocusing_angle"
    least_contrasts: ClassVar[int] = 1  # equal angles make a curve too

    refocusing_angle: tuple[TrainAngle, ...]
    echo_spacing: EchoSpacing
    excitation_angle: TrainAngle = math.pi / 2

    @model_validator(mode="after")
    def _several(self) -> RefocusingTrain:
        if len(self.refocusing_angle) < 2:
            raise AcquisitionError(
                f"a train of {len(self.refocusing_angle)} echo",
                "one echo says nothing about T2.",
                "Give the refocusing angles of all echoes.",
            )
        if max(self.refocusing_angle) <= 0 or self.excitation_angle <= 0:
            raise PlausibilityError("pulses of no angle", "there would be no echo.", "Check the angles.")
        return self
