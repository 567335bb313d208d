"""Options of the model commands, made from the catalogue: spelled the same everywhere."""

from __future__ import annotations

import inspect
import itertools
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from fastqmri.core import (
    Acquisition,
    AcquisitionError,
    ActualFlipAngle,
    BalancedMagnetizationTransfer,
    DiffusionWeighted,
    DoubleAngle,
    InversionRecovery,
    LookLocker,
    MagnetizationTransferRatio,
    MagnetizationTransferSaturation,
    MultiEchoGradientEcho,
    MultiEchoSpinEcho,
    MultiParameterMapping,
    OutputError,
    Parameter,
    PlausibilityError,
    PulsedGradient,
    QuantitativeMagnetizationTransfer,
    Schedule,
    UnitError,
    UnknownNameError,
    VariableFlipAngle,
    ZSpectrum,
)
from fastqmri.core.units import (
    ANGLE,
    B_VALUE,
    DIFFUSIVITY,
    FIELD,
    FREQUENCY,
    GRADIENT,
    LENGTH,
    OFFSET,
    RATE,
    SATURATION_B1,
    TIME,
    Dimension,
    format_quantity,
    parse_quantities,
    parse_quantity,
)

_TIMES = "Comma-separated, with a unit, like 10,20,30ms; a range is start:step:stop, like 10:10:320ms."
_GROUP = "Acquisition"


@dataclass(frozen=True)
class Field:
    """How a field of an acquisition is given on the command line.

    Attributes:
        flag: of its option.
        dimension: of its numbers; None for words.
        many: whether it is a list, one value a contrast.
        help: for people.
        required: whether a fit can't do without it.
    """

    flag: str
    dimension: Dimension | None
    many: bool
    help: str
    required: bool = True

    def parse(self, text: str) -> Any:
        """The field's value.

        Raises:
            UnitError: as `parse_quantities`.
        """
        if self.dimension is None:
            words = tuple(word.strip() for word in text.split(",") if word.strip())
            return words if self.many else text.strip()
        parse = parse_quantities if self.many else parse_quantity
        return parse(text, self.dimension, name=self.flag)

    def show(self, value: Any) -> str:
        """The value for people, with its unit."""
        values = value if self.many else (value,)
        if self.dimension is None:
            words = [_word(v) for v in values]
        else:
            words = [format_quantity(v, self.dimension) for v in values]
        return ", ".join(
            f"{word} ({times} times)" if (times := len(list(run))) > 2 else ", ".join([word] * times)
            for word, run in itertools.groupby(words)
        )

    def write(self, value: Any) -> str:
        """The option that gives the value again, digits and all."""
        values = value if self.many else (value,)
        if self.dimension is None:
            return f"{self.flag} {','.join(_word(v) for v in values)}"
        return f"{self.flag} {','.join(f'{v:.9g}{self.dimension.unit}' for v in values)}"


def _word(value: Any) -> str:
    return {True: "on", False: "off"}.get(value, str(value))


_EACH = "one for each image, in the order of the images"
_MT_STATE = Field("--mt-state", None, True, f"MT pulse on or off, {_EACH}: off,on.")
_SPOILED = {
    "flip_angle": Field("--flip-angle", ANGLE, True, f"Nominal flip angles, {_EACH}: 6,6,21deg."),
    "repetition_time": Field(
        "--repetition-time", TIME, True, f"Times between excitations, {_EACH}: 25,25,20ms."
    ),
    "mt_state": _MT_STATE,
}
_EACH = "one for each image, in the order of the images"
FIELDS: dict[type[Acquisition], dict[str, Field]] = {
    VariableFlipAngle: {
        "flip_angle": Field(
            "--flip-angle",
            ANGLE,
            True,
            "Nominal flip angles, in the order of the images: 3deg,20deg.",
        ),
        "repetition_time": Field("--repetition-time", TIME, False, "Time between excitations: 15ms."),
    },
    InversionRecovery: {
        "inversion_time": Field(
            "--inversion-time",
            TIME,
            True,
            f"Inversion times, in the order of the images. {_TIMES}",
        ),
        "repetition_time": Field(
            "--repetition-time", TIME, False, "Time between inversions: 10s.", required=False
        ),
    },
    LookLocker: {
        "inversion_time": Field("--inversion-time", TIME, True, f"Times since the inversion. {_TIMES}"),
    },
    MultiEchoSpinEcho: {"echo_time": Field("--echo-time", TIME, True, f"Echo times. {_TIMES}")},
    MultiEchoGradientEcho: {"echo_time": Field("--echo-time", TIME, True, f"Echo times. {_TIMES}")},
    DiffusionWeighted: {
        "b_value": Field(
            "--b-value",
            B_VALUE,
            True,
            "b-values where there is no .bval file: 0,500,1000s/mm2.",
            required=False,
        ),
    },
    QuantitativeMagnetizationTransfer: {
        "saturation_angle": Field(
            "--saturation-angle",
            ANGLE,
            True,
            "Flip angle of each image's saturation pulse, 0 for none: 142,426deg.",
        ),
        "offset": Field(
            "--offset", FREQUENCY, True, "Offset of each image's saturation pulse from water: 1,2.5kHz."
        ),
        "pulse_duration": Field("--pulse-duration", TIME, False, "Of the saturation pulse: 10.2ms."),
        "repetition_time": Field("--repetition-time", TIME, False, "Time between excitations: 25ms."),
        "flip_angle": Field("--flip-angle", ANGLE, False, "Of the excitation: 7deg.", required=False),
        "pulse_shape": Field(
            "--pulse-shape", None, False, "gauss-hann (default), gaussian, hann or hard.", required=False
        ),
        "pulse_bandwidth": Field(
            "--pulse-bandwidth", FREQUENCY, False, "Of the Gaussian: 200Hz (default).", required=False
        ),
        "delay": Field(
            "--delay", TIME, False, "From the end of the pulse to the excitation: 0ms.", required=False
        ),
    },
    ZSpectrum: {
        "offset": Field(
            "--offset",
            OFFSET,
            True,
            f"Saturation offsets from water, {_EACH}; the unsaturated image's too: -300,-4:0.25:4ppm.",
        ),
        "saturation_b1": Field(
            "--saturation-b1", SATURATION_B1, False, "Saturation amplitude: 3.7uT.", required=False
        ),
        "saturation_time": Field(
            "--saturation-time", TIME, False, "Duration of the saturation: 5ms.", required=False
        ),
        "field_strength": Field("--field-strength", FIELD, False, "Of the scanner: 3T.", required=False),
    },
    BalancedMagnetizationTransfer: {
        "flip_angle": Field("--flip-angle", ANGLE, True, "Of each image: 5,15,35,35deg."),
        "pulse_duration": Field("--pulse-duration", TIME, True, "Of each image's pulses: 0.3,0.3,0.3,2ms."),
        "repetition_time": Field("--repetition-time", TIME, True, "Of each image: 3,3,3,4.7ms."),
        "pulse_shape": Field("--pulse-shape", None, False, "hard (default), hann or sinc.", required=False),
    },
    PulsedGradient: {
        "gradient_amplitude": Field(
            "--gradient-amplitude",
            GRADIENT,
            True,
            "Amplitudes of the diffusion gradient, in the order of the images: 0,100,200,300mT/m.",
        ),
        "pulse_duration": Field(
            "--pulse-duration", TIME, True, "Duration of a gradient pulse; one for all images, or for each."
        ),
        "pulse_separation": Field(
            "--pulse-separation",
            TIME,
            True,
            "From the beginning of one gradient pulse to that of the other; one for all images, or for each.",
        ),
    },
    MagnetizationTransferRatio: {"mt_state": _MT_STATE},
    MagnetizationTransferSaturation: _SPOILED,
    MultiParameterMapping: {
        "echo_time": Field("--echo-time", TIME, True, f"Echo times, {_EACH}. {_TIMES}"),
        **_SPOILED,
    },
    ActualFlipAngle: {
        "repetition_time": Field(
            "--repetition-time", TIME, True, "Time after the excitation of each of the two images: 20,100ms."
        ),
        "flip_angle": Field("--flip-angle", ANGLE, False, "Nominal flip angle: 60deg."),
    },
    DoubleAngle: {
        "flip_angle": Field("--flip-angle", ANGLE, True, "The two nominal flip angles: 60,120deg."),
    },
}
_SCHEDULE = {
    "schedule": Field(
        "--schedule",
        None,
        False,
        "A published schedule by name, or a file: JSON with the fields of the acquisition, or Pulseq (.seq). "
        "fastqmri schedules lists the names and writes examples.",
    )
}
_DIMENSION_OF_UNIT = {
    "s": TIME,
    "rad": ANGLE,
    "Hz": FREQUENCY,
    "1/s": RATE,
    "mm2/s": DIFFUSIVITY,
    "um": LENGTH,
    "ppm": OFFSET,
}


class VariadicCommand(TyperCommand):
    """A command whose list options take all that follows: ``--images a.nii.gz b.nii.gz``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeat the flag for every value, as the parser underneath wants it."""
        flags = {flag for p in self.params if getattr(p, "multiple", False) for flag in p.opts}
        spread: list[str] = []
        current: str | None = None
        fresh = False
        for token in args:
            if token.startswith("-") and not _is_number(token):
                flag, has_value, _ = token.partition("=")
                current = flag if flag in flags else None
                fresh = current is not None and not has_value
                spread.append(token)
            elif current and not fresh:
                spread += [current, token]
            else:
                spread.append(token)
                fresh = False
        return super().parse_args(ctx, spread)


def model_command(
    entry: Any,
    more: Iterable[inspect.Parameter],
    body: Callable[..., None],
    description: str,
    *,
    needed: bool,
) -> Callable[..., None]:
    """A typer callback for one model: its acquisition's options, its own options, then ``more``.

    Args:
        entry: of the catalogue.
        more: further parameters.
        body: called with the entry and all values by name.
        description: the help text.
        needed: whether the acquisition must be given (otherwise it has a typical default).
    """
    parameters = [*_acquisition_parameters(entry, needed), *_own_parameters(entry), *more]
    return command_of(parameters, lambda values: body(entry, values), description)


def command_of(
    parameters: Iterable[inspect.Parameter], body: Callable[[Mapping[str, Any]], None], description: str
) -> Callable[..., None]:
    """A typer callback with these parameters, those without a default first.

    Args:
        parameters: as `option` makes them.
        body: called with all values by name.
        description: the help text.
    """
    ordered = sorted(parameters, key=lambda p: p.default is not inspect.Parameter.empty)

    def command(**values: Any) -> None:
        body(values)

    command.__doc__ = description
    command.__signature__ = inspect.Signature(ordered)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in ordered}
    return command


def option(
    name: str,
    kind: Any,
    default: Any,
    *flags: str,
    help: str,
    group: str | None = None,
    least: float | None = None,
) -> inspect.Parameter:
    """A keyword parameter that typer turns into an option; with ``...`` for default it is required."""
    annotation = Annotated[kind, typer.Option(*flags, help=help, rich_help_panel=group, min=least)]
    given = {} if default is ... else {"default": default}
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, **given)


MASK = option(
    "mask",
    str | None,
    None,
    "--mask",
    "-m",
    help="File; or none, to map every voxel. Default: automatic.",
)
FORCE = option("force", bool, False, "--force", help="Overwrite maps in the output folder.")
THREADS = option("threads", int, 0, "--threads", help="Processor threads; 0 takes all.", least=0)


def own_options(entry: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """The model's own options that were given.

    Raises:
        UnknownNameError: a value that is none of an option's choices.
        UnitError: a number without its unit.
    """
    own: dict[str, Any] = {}
    for name, choices in entry.options.items():
        if values.get(name) is not None:
            check_choice(f"--{name}", values[name], choices)
            own[name] = values[name]
    for name, setting in entry.settings.items():
        if values.get(name) is not None:
            own[name] = parse_quantity(values[name], setting.dimension, name=f"--{name}")
    return own


def check_choice(flag: str, value: Any, choices: Sequence[Any]) -> None:
    """Refuse a value that is none of the choices.

    Raises:
        UnknownNameError: it is none.
    """
    if value not in choices:
        names = ", ".join(str(choice) for choice in choices)
        remedy = f"Use one of {names}." if choices else "Leave the option out: there is nothing to choose."
        raise UnknownNameError(f"{flag} {value}", "there is no such choice.", remedy)


def check_level(flag: str, level: float | None, of: str, *, most: float = sys.float_info.max) -> None:
    """Refuse a level that is not a positive number.

    Raises:
        PlausibilityError: it is not.
    """
    if level is not None and not 0 < level <= most:
        raise PlausibilityError(
            f"{flag} {level:g}",
            "it must be a positive number.",
            f"Give it in units of {of}, or leave the option out: then it is found from them.",
        )


def acquisition_of(
    entry: Any, values: Mapping[str, Any], images: Sequence[Path] = ()
) -> tuple[Acquisition | None, list[str]]:
    """The acquisition that the options describe, or None if they don't; and notes for the user.

    Args:
        entry: of the catalogue.
        values: of the options.
        images: that the acquisition is of, if there are any yet.

    Raises:
        AcquisitionError: b-values given twice, or directions without b-values.
        UnitError, PlausibilityError: as the acquisition's.
        FileError, ShapeError: as `fastqmri.io.read_diffusion`.
    """
    kind = entry.acquisition
    if kind is DiffusionWeighted and (values.get("bval") or values.get("bvec")):
        return _from_files(values, images)
    if issubclass(kind, Schedule):
        from fastqmri.io import read_schedule

        given = values.get("schedule")
        return (None, []) if given is None else (read_schedule(given, kind), [])
    fields = {}
    for name, field in FIELDS[kind].items():
        text = values.get(name)
        if text is not None:
            fields[name] = field.parse(text)
    if not fields:
        return None, []
    return kind(**fields), []


def acquisition_words(acquisition: Acquisition, without: Sequence[str] = ()) -> list[str]:
    """Options that give an acquisition again, but for some fields."""
    fields = FIELDS[type(acquisition)]
    values = {name: getattr(acquisition, name) for name in fields if name not in without}
    return [fields[name].write(value) for name, value in values.items() if value is not None]


def begin_folder(out: Path, *, force: bool) -> None:
    """Refuse an output folder that something would be overwritten in.

    Raises:
        OutputError: it is a file, or not empty without ``force``.
    """
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out}", "it is a file, not a folder.", "Choose another --out.")
    if out.exists() and any(out.iterdir()) and not force:
        remedy = "Choose another --out, or --force."
        raise OutputError(f"{out} is not empty", "its files might be overwritten.", remedy)


def acquisition_records(entry: Any, acquisition: Acquisition) -> list[tuple[str, str]]:
    """(name, value with unit) of every field, for the report."""
    if isinstance(acquisition, Schedule):
        return [("schedule", acquisition.summary())]
    records = []
    for name, field in FIELDS[entry.acquisition].items():
        value = getattr(acquisition, name)
        if value is not None:
            records.append((field.flag.lstrip("-").replace("-", " "), field.show(value)))
    return records


def parameter_value(parameter: Parameter, text: str) -> float:
    """A parameter's value from ``1.2s`` or, for quantities without a unit, ``0.3``.

    Raises:
        UnitError: no number, or no unit where one is needed.
    """
    dimension = _DIMENSION_OF_UNIT.get(parameter.unit)
    if dimension is not None:
        return parse_quantity(text, dimension, name=parameter.name)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UnitError(f"{parameter.name} = {text!r}", "it is not a number.", f"Write {parameter.name}=1.0.")
    return value


def _acquisition_parameters(entry: Any, needed: bool) -> list[inspect.Parameter]:
    kind = entry.acquisition
    parameters = []
    fields = _SCHEDULE if issubclass(kind, Schedule) else FIELDS[kind]
    for name, field in fields.items():
        required = needed and field.required
        kind_of_value, default = (str, ...) if required else (str | None, None)
        parameters.append(option(name, kind_of_value, default, field.flag, help=field.help, group=_GROUP))
    if kind is DiffusionWeighted:
        parameters += [
            option("bval", Path | None, None, "--bval", help="FSL b-values, s/mm2.", group=_GROUP),
            option("bvec", Path | None, None, "--bvec", help="FSL gradient directions.", group=_GROUP),
        ]
    return parameters


def _own_parameters(entry: Any) -> list[inspect.Parameter]:
    parameters = []
    for name, choices in entry.options.items():
        if choices == (False, True):
            text = entry.option_help[name]
            parameters.append(option(name, bool, False, f"--{name}", help=text, group="Model"))
        else:
            default = None if name == "signal" else choices[0]
            text = " ".join(
                [*([entry.option_help[name]] if name in entry.option_help else ()), _one_of(choices)]
            )
            if default is None:
                text += " Default: what the images hold."
            parameters.append(option(name, str | None, default, f"--{name}", help=text, group="Model"))
    for name, setting in entry.settings.items():
        default = setting.write(setting.default)
        parameters.append(option(name, str, default, f"--{name}", help=setting.description, group="Model"))
    return parameters


def _one_of(choices: Sequence[Any]) -> str:
    return f"One of {', '.join(str(choice) for choice in choices)}."


def _from_files(values: Mapping[str, Any], images: Sequence[Path]) -> tuple[Acquisition, list[str]]:
    import torch

    from fastqmri.io import read_diffusion, read_gradients, read_grid

    bval, bvec = values.get("bval"), values.get("bvec")
    if bval is None:
        raise AcquisitionError(
            f"--bvec {bvec} without --bval", "every direction needs its b-value.", "Give --bval."
        )
    if values.get("b_value") is not None:
        raise AcquisitionError("--bval and --b-value", "both state the b-values.", "Give one of them.")
    if len(images) == 1:
        return read_diffusion(images[0], bval, bvec)
    # one file a volume: their number is checked where they are read; no file: a phantom, which lies straight
    affine = read_grid(images[0])[0].affine if images else torch.eye(4)
    b_values, b_vectors, notes = read_gradients(bval, bvec, affine)
    return DiffusionWeighted(b_value=b_values, b_vector=b_vectors), notes


def _is_number(token: str) -> bool:
    return token[1:2].isdigit() or token[1:2] == "."
