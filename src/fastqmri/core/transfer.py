"""Acquisitions with and without a pulse that saturates the bound water (magnetisation transfer)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import model_validator

from fastqmri.core.acquisition import Acquisition, EchoTime, FlipAngle, RepetitionTime, require_spoiled
from fastqmri.core.errors import AcquisitionError


class MagnetizationTransferRatio(Acquisition):
    """The same image without and with the saturation pulse (BIDS ``MTR``).

    Attributes:
        mt_state: whether the pulse was on, one per image.
    """

    varies: ClassVar[str] = "mt_state"
    continuous: ClassVar[bool] = False
    mt_state: tuple[bool, ...]


class MagnetizationTransferSaturation(Acquisition):
    """Spoiled gradient echoes weighted by proton density, T1 and magnetisation transfer (BIDS ``MTS``).

    Attributes:
        mt_state: whether the saturation pulse was on, one per image.
        flip_angle: nominal flip angles in rad, one per image.
        repetition_time: times between excitations in s, one per image.
    """

    varies: ClassVar[str] = "mt_state"
    continuous: ClassVar[bool] = False
    mt_state: tuple[bool, ...]
    flip_angle: tuple[FlipAngle, ...]
    repetition_time: tuple[RepetitionTime, ...]

    @model_validator(mode="after")
    def _complete(self) -> MagnetizationTransferSaturation:
        _require_one_each(self, ("mt_state", "flip_angle", "repetition_time"))
        require_spoiled(self.flip_angle, self.repetition_time)
        _require_two_weightings(self.mt_state, self.flip_angle, self.repetition_time)
        return self


class MultiParameterMapping(Acquisition):
    """Multi-echo spoiled gradient echoes of several weightings (BIDS ``MPM``).

    Images of equal ``mt_state``, ``flip_angle`` and ``repetition_time`` are the echoes of one weighting. At least
    two weightings without the saturation pulse are needed; one with it adds MTsat.

    Attributes:
        echo_time: echo times in s, one per image.
        flip_angle: nominal flip angles in rad, one per image.
        repetition_time: times between excitations in s, one per image.
        mt_state: whether the saturation pulse was on, one per image.
    """

    varies: ClassVar[str] = "echo_time"
    continuous: ClassVar[bool] = False
    echo_time: tuple[EchoTime, ...]
    flip_angle: tuple[FlipAngle, ...]
    repetition_time: tuple[RepetitionTime, ...]
    mt_state: tuple[bool, ...]

    @model_validator(mode="after")
    def _complete(self) -> MultiParameterMapping:
        _require_one_each(self, ("echo_time", "flip_angle", "repetition_time", "mt_state"))
        require_spoiled(self.flip_angle, self.repetition_time)
        _require_two_weightings(self.mt_state, self.flip_angle, self.repetition_time)
        for echo, repetition in zip(self.echo_time, self.repetition_time, strict=True):
            if echo >= repetition:
                raise AcquisitionError(
                    f"EchoTime = {echo:g} s with RepetitionTime = {repetition:g} s",
                    "the next excitation would come before the echo.",
                    "Check the units of both.",
                )
        return self

    @property
    def weightings(self) -> tuple[tuple[bool, float, float], ...]:
        """Distinct (MT state, flip angle, repetition time), those without saturation first, by flip angle."""
        found = set(zip(self.mt_state, self.flip_angle, self.repetition_time, strict=True))
        return tuple(sorted(found))

    @property
    def weighting_of(self) -> tuple[int, ...]:
        """Row of `weightings` of every image."""
        rows = self.weightings
        return tuple(
            rows.index(one) for one in zip(self.mt_state, self.flip_angle, self.repetition_time, strict=True)
        )


def _require_one_each(acquisition: Acquisition, names: Sequence[str]) -> None:
    counts = {name: len(getattr(acquisition, name)) for name in names}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{count} {name.replace('_', ' ')}s" for name, count in counts.items())
        raise AcquisitionError(
            f"{type(acquisition).__name__} with {listed}",
            "every image needs one of each.",
            "Repeat a value for all images that share it.",
        )


def _require_two_weightings(
    states: Sequence[bool], angles: Sequence[float], repetitions: Sequence[float]
) -> None:
    unsaturated = {(a, r) for on, a, r in zip(states, angles, repetitions, strict=True) if not on}
    # T1 weighting goes with TR/angle²: equal values of that tell nothing apart
    weights = sorted(r / a**2 for a, r in unsaturated)
    if len(weights) < 2 or weights[-1] < 1.02 * weights[0]:
        raise AcquisitionError(
            f"{len(unsaturated)} weightings without the saturation pulse",
            "T1 needs two that differ in flip angle or repetition time (PDw and T1w).",
            "Add the missing images, or check MT state, flip angle and repetition time of every image.",
        )
