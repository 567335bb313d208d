"""Acquisitions that map the transmit field (B1+)."""

from __future__ import annotations

from typing import ClassVar

from pydantic import model_validator

from fastqmri.core.acquisition import Acquisition, FlipAngle, RepetitionTime
from fastqmri.core.errors import AcquisitionError, PlausibilityError


class ActualFlipAngle(Acquisition):
    """Two interleaved repetition times, one flip angle (BIDS ``TB1AFI``).

    Attributes:
        repetition_time: time in s that follows the excitation of each of the two images.
        flip_angle: nominal flip angle in rad.
    """

    varies: ClassVar[str] = "repetition_time"
    continuous: ClassVar[bool] = False
    repetition_time: tuple[RepetitionTime, ...]
    flip_angle: FlipAngle

    @model_validator(mode="after")
    def _pair(self) -> ActualFlipAngle:
        if len(self.repetition_time) != 2:
            raise AcquisitionError(
                f"{len(self.repetition_time)} repetition times",
                "the method has two images, one after the shorter and one after the longer repetition time.",
                "Give both repetition times in the order of the images.",
            )
        if max(self.repetition_time) > 2:
            raise PlausibilityError(
                f"RepetitionTime = {max(self.repetition_time):g} s",
                "the method needs repetition times far below T1; it reads like milliseconds where seconds "
                "belong.",
                "Give RepetitionTime in s, or with its unit.",
            )
        _require_less_than_half_a_turn(self.flip_angle)
        return self


class DoubleAngle(Acquisition):
    """Two images, the flip angle of one twice that of the other, TR long against T1 (BIDS ``TB1DAM``).

    Attributes:
        flip_angle: the two nominal flip angles in rad.
    """

    varies: ClassVar[str] = "flip_angle"
    flip_angle: tuple[FlipAngle, ...]

    @model_validator(mode="after")
    def _double(self) -> DoubleAngle:
        low, high = min(self.flip_angle), max(self.flip_angle)
        if len(self.flip_angle) != 2 or abs(high / low - 2) > 0.02:
            raise AcquisitionError(
                f"flip angles in the ratio {high / low:.4g} on {len(self.flip_angle)} images",
                "the method has two images, and the second flip angle is twice the first.",
                "Check the flip angles.",
            )
        _require_less_than_half_a_turn(low)
        return self


def _require_less_than_half_a_turn(angle: float) -> None:
    if angle >= 3:
        raise PlausibilityError(
            f"FlipAngle = {angle:g} rad",
            "an angle of half a turn leaves no signal; it reads like degrees where radians belong.",
            "Give FlipAngle in rad, or with its unit.",
        )
