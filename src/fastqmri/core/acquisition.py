"""What the scanner was told (t of the equation): one validated class a sequence family.

Numbers are in the package's units (seconds, radians, s/mm²). Strings carry their own unit, so
``VariableFlipAngle(flip_angle=("3deg", "20deg"), repetition_time="15ms")`` is safe to type.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self, get_args, get_type_hints

import torch
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PrivateAttr,
    ValidationError,
    model_validator,
)
from torch import Tensor

from fastqmri.core.errors import AcquisitionError, PlausibilityError
from fastqmri.core.units import ANGLE, B_VALUE, TIME, Dimension, format_quantity, parse_quantity


@dataclass(frozen=True, eq=False)
class _Reader:
    """Reads texts that carry a unit of a dimension, and leaves numbers alone."""

    dimension: Dimension

    def __call__(self, value: Any) -> Any:
        return parse_quantity(value, self.dimension) if isinstance(value, str) else value


def _number(dimension: Dimension) -> BeforeValidator:
    return BeforeValidator(_Reader(dimension))


def _dimension(annotation: Any) -> Dimension | None:
    """What the numbers of a field are, from its type."""
    for part in (*getattr(annotation, "__metadata__", ()), *get_args(annotation)):
        reader = getattr(part, "func", None)
        found = reader.dimension if isinstance(reader, _Reader) else _dimension(part)
        if found is not None:
            return found
    return None


def _between(
    name: str, low: float, high: float, dimension: Dimension, hint: str, *, lowest: bool = False
) -> AfterValidator:
    """Above ``low`` (or just that, where ``lowest``) and at most ``high``."""

    def check(value: float) -> float:
        if not low < value <= high and not (lowest and value == low):
            raise PlausibilityError(
                f"{name} = {value:g} {dimension.unit}",
                f"no scan has one outside {format_quantity(low, dimension)} to "
                f"{format_quantity(high, dimension)}; {hint}",
                f"Give {name} in {dimension.unit}, or with its unit.",
            )
        return value

    return AfterValidator(check)


_MS = "it reads like milliseconds where seconds belong."
EchoTime = Annotated[float, _number(TIME), _between("EchoTime", 0.0, 1.0, TIME, _MS)]
RepetitionTime = Annotated[float, _number(TIME), _between("RepetitionTime", 0.0, 30.0, TIME, _MS)]
InversionTime = Annotated[float, _number(TIME), _between("InversionTime", 0.0, 20.0, TIME, _MS)]
FlipAngle = Annotated[
    float,
    _number(ANGLE),
    _between("FlipAngle", 0.0, 2 * torch.pi + 1e-6, ANGLE, "it reads like degrees where radians belong."),
]
BValue = Annotated[
    float,
    _number(B_VALUE),
    _between("b-value", -1e-9, 50_000.0, B_VALUE, "it reads like s/m² where s/mm² belongs."),
]


class Acquisition(BaseModel):
    """Base of all sequence families: frozen, validated, one entry a contrast.

    Raises:
        PlausibilityError: a value no scanner could have been told.
        AcquisitionError: fields missing, of the wrong type, or contradicting each other.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    varies: ClassVar[str]
    """Name of the field that changes from contrast to contrast."""
    least_contrasts: ClassVar[int] = 2
    continuous: ClassVar[bool] = True
    """Whether images between those measured can be imagined: a curve over what varies."""
    _live: dict[str, Tensor] = PrivateAttr(default_factory=dict)

    def __init__(self, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "fields"
            raise AcquisitionError(
                f"{type(self).__name__}: {where} = {first.get('input')!r}",
                f"{first['msg']}.",
                f"The fields are {', '.join(type(self).model_fields)}.",
            ) from error

    def __eq__(self, other: object) -> bool:
        """Equal numbers: what `differentiable` added does not count."""
        return type(self) is type(other) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash((type(self), *self.__dict__.values()))

    @property
    def contrasts(self) -> int:
        """Number of contrast images."""
        return len(getattr(self, self.varies))

    @model_validator(mode="after")
    def _enough(self) -> Acquisition:
        values = getattr(self, self.varies)
        distinct = len(set(values))
        if distinct < self.least_contrasts:
            raise AcquisitionError(
                f"{type(self).__name__} with {distinct} distinct {self.varies.replace('_', ' ')}"
                f"{'' if distinct == len(values) else f' among {len(values)} images'}",
                f"the curve has more unknowns than that: at least {self.least_contrasts} are needed.",
                "Add the missing images, or check that every image got its own value.",
            )
        return self

    def differentiable(self, **values: Tensor) -> Self:
        """The same acquisition with fields given as tensors that carry gradients.

        Every model that reads its acquisition by `tensor` becomes differentiable with respect to them, in reverse
        and in forward mode. The fields themselves keep the numbers they have, so that schedules can be compared and
        written; ``values`` that moved away from them are made into an acquisition of their own by `settled`.

        Args:
            values: field name -> tensor of the field's shape, in the field's unit.

        Raises:
            AcquisitionError: a field that does not exist, or a tensor of another shape.
        """
        for name, value in values.items():
            if name not in type(self).model_fields:
                raise AcquisitionError(
                    f"{type(self).__name__} has no field {name!r}",
                    "only its own fields can carry gradients.",
                    f"The fields are {', '.join(type(self).model_fields)}.",
                )
            shape = tuple(torch.as_tensor(getattr(self, name)).shape)
            if tuple(value.shape) != shape:
                raise AcquisitionError(
                    f"{name} of shape {tuple(value.shape)}",
                    f"{type(self).__name__}.{name} has shape {shape}.",
                    "Give one number for each that the acquisition has.",
                )
        copy = self.model_copy()
        copy._live = {**self._live, **values}
        return copy

    def carries(self, name: str) -> bool:
        """Whether `differentiable` was given this field."""
        return name in self._live

    def settled(self) -> Self:
        """The acquisition whose fields are the present values of the tensors that `differentiable` was given.

        Raises:
            PlausibilityError, AcquisitionError: values no scanner could be told.
        """
        moved = {name: _numbers(value.detach().tolist()) for name, value in self._live.items()}
        return type(self)(**{**self.model_dump(), **moved})

    def tensor(self, name: str, like: Tensor | None = None) -> Tensor:
        """A field as a tensor, (contrast,), in float64 or the real dtype and device of ``like``.

        What `differentiable` was given comes as it is, gradients included.
        """
        values = self._live.get(name)
        if values is None:
            values = torch.tensor(getattr(self, name), dtype=torch.float64)
        if like is None:
            return values
        return values.to(device=like.device, dtype=like.real.dtype if like.is_complex() else like.dtype)

    def subset(self, keep: Callable[[int], bool]) -> Acquisition:
        """The same acquisition with only the contrasts whose index ``keep`` accepts."""
        chosen = [i for i in range(self.contrasts) if keep(i)]
        fields = self.model_dump()
        for name, value in fields.items():
            if isinstance(value, tuple) and len(value) == self.contrasts:
                fields[name] = tuple(value[i] for i in chosen)
        return type(self)(**fields)


def _numbers(value: Any) -> Any:
    """Nested lists as the tuples that fields hold."""
    return tuple(_numbers(item) for item in value) if isinstance(value, list) else value


class Schedule(Acquisition):
    """Base of acquisitions with more numbers than anyone types: taken by name or from a file.

    The shipped ones are in `fastqmri.physics.spins.SCHEDULES`; `fastqmri.io.read_schedule` reads files.
    """

    def summary(self) -> str:
        """What varies and how far, in one line, with units; fields that hold their defaults are left out."""
        parts = [f"{self.contrasts} contrasts"]
        kinds = get_type_hints(type(self), include_extras=True)
        for name, field in type(self).model_fields.items():
            value, words = getattr(self, name), name.replace("_", " ")
            if value is None or value == field.default:
                continue
            dimension = _dimension(kinds[name])

            def show(number: float, dimension: Dimension | None = dimension) -> str:
                if dimension is None:
                    return f"{number:.4g}"
                shown, unit = format_quantity(number, dimension).split(" ", 1)
                return f"{float(shown):.4g} {unit}"

            if isinstance(value, tuple) and value and all(isinstance(v, int | float) for v in value):
                low, high = show(min(value)), show(max(value))
                parts.append(f"{words} {low}" + (f" to {high}" if high != low else ""))
            elif isinstance(value, bool):
                parts.append(words if value else f"no {words}")
            elif isinstance(value, int | float):
                parts.append(f"{words} {show(value)}")
            elif not isinstance(value, tuple):
                parts.append(f"{words} {value}")
        return ", ".join(parts)


def require_spoiled(flip_angles: Sequence[float], repetition_times: Sequence[float]) -> None:
    """Refuse what no train of spoiled gradient echoes has: large angles only, or seconds between excitations.

    Raises:
        PlausibilityError: a mix-up of units.
    """
    smallest, longest = min(flip_angles), max(repetition_times)
    if smallest >= 1:  # 1 deg taken for 1 rad, which is 57 deg
        raise PlausibilityError(
            f"smallest FlipAngle = {smallest:g} rad",
            f"a spoiled gradient echo takes small flip angles too, and {format_quantity(smallest, ANGLE)} "
            "is none; it reads like degrees where radians belong.",
            "Give FlipAngle in rad, or with its unit.",
        )
    if longest > 2:
        raise PlausibilityError(
            f"RepetitionTime = {longest:g} s",
            "between the excitations of a spoiled gradient echo pass milliseconds; "
            "it reads like milliseconds where seconds belong.",
            "Give RepetitionTime in s, or with its unit.",
        )


class VariableFlipAngle(Acquisition):
    """Spoiled gradient echo at several flip angles, one repetition time (BIDS ``VFA``).

    Attributes:
        flip_angle: nominal flip angles in rad.
        repetition_time: time between excitations in s.
    """

    varies: ClassVar[str] = "flip_angle"
    flip_angle: tuple[FlipAngle, ...]
    repetition_time: RepetitionTime

    @model_validator(mode="after")
    def _spoiled(self) -> VariableFlipAngle:
        require_spoiled(self.flip_angle, (self.repetition_time,))
        return self


class InversionRecovery(Acquisition):
    """Inversion recovery at several inversion times (BIDS ``IRT1``).

    Attributes:
        inversion_time: times from inversion to excitation in s.
        repetition_time: time between inversions in s; None where it is long against T1.
    """

    varies: ClassVar[str] = "inversion_time"
    inversion_time: tuple[InversionTime, ...]
    repetition_time: RepetitionTime | None = None

    @model_validator(mode="after")
    def _order(self) -> InversionRecovery:
        longest = max(self.inversion_time)
        if self.repetition_time is not None and self.repetition_time < longest:
            raise PlausibilityError(
                f"RepetitionTime = {self.repetition_time:g} s with InversionTime up to {longest:g} s",
                "the next inversion would come before the readout.",
                "Check the units of both; the repetition time is that of the inversions.",
            )
        return self


class LookLocker(Acquisition):
    """Many small-angle readouts after one inversion.

    Attributes:
        inversion_time: times from inversion to each readout in s.
    """

    varies: ClassVar[str] = "inversion_time"
    least_contrasts: ClassVar[int] = 3
    inversion_time: tuple[InversionTime, ...]


class MultiEchoSpinEcho(Acquisition):
    """Spin echoes at several echo times (BIDS ``MESE``).

    Attributes:
        echo_time: echo times in s.
    """

    varies: ClassVar[str] = "echo_time"
    echo_time: tuple[EchoTime, ...]


class MultiEchoGradientEcho(Acquisition):
    """Gradient echoes at several echo times (BIDS ``MEGRE``).

    Attributes:
        echo_time: echo times in s.
    """

    varies: ClassVar[str] = "echo_time"
    echo_time: tuple[EchoTime, ...]


class WeightedGradientEcho(Acquisition):
    """Multi-echo gradient echoes of several weightings (the images of BIDS ``MPM``).

    Attributes:
        echo_time: echo times in s, one per image.
        weighting: name of each image's weighting (``PDw``, ``T1w``, ``MTw``).
    """

    varies: ClassVar[str] = "echo_time"
    echo_time: tuple[EchoTime, ...]
    weighting: tuple[str, ...]

    @model_validator(mode="after")
    def _named(self) -> WeightedGradientEcho:
        if len(self.weighting) != len(self.echo_time):
            raise AcquisitionError(
                f"{len(self.weighting)} weightings for {len(self.echo_time)} echo times",
                "every image needs one of each.",
                "Repeat the weighting for each of its echoes.",
            )
        return self


class DiffusionWeighted(Acquisition):
    """Diffusion weighting (BIDS ``dwi``).

    Attributes:
        b_value: one per volume, s/mm².
        b_vector: one unit vector per volume (zero where b is zero), in the frame the tensor is wanted in;
            None for trace-weighted images.
    """

    varies: ClassVar[str] = "b_value"
    b_value: tuple[BValue, ...]
    b_vector: tuple[tuple[float, float, float], ...] | None = None

    @model_validator(mode="after")
    def _gradients(self) -> DiffusionWeighted:
        highest = max(self.b_value)
        if highest < 20:
            raise PlausibilityError(
                f"largest b-value = {highest:g} s/mm2",
                "it weights nothing; it reads like ms/µm² where s/mm² belongs.",
                "Multiply by 1000, or write the unit.",
            )
        if self.b_vector is None:
            return self
        if len(self.b_vector) != len(self.b_value):
            raise AcquisitionError(
                f"{len(self.b_vector)} b-vectors for {len(self.b_value)} b-values",
                "every volume needs one of each.",
                "Check that the .bval and .bvec files belong to this series.",
            )
        for i, (b, vector) in enumerate(zip(self.b_value, self.b_vector, strict=True)):
            length = sum(v * v for v in vector) ** 0.5
            if b > 50 and abs(length - 1) > 0.05:
                raise PlausibilityError(
                    f"b-vector {i} = {vector} (length {length:.3g}) at b = {b:g} s/mm2",
                    "directions of weighted volumes must be unit vectors.",
                    "Check that the .bvec file holds three rows (or columns) of unit vectors.",
                )
        return self
