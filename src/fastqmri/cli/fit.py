"""``fastqmri fit MODEL``: plain NIfTI files in, maps, standard deviations, flags and a report out."""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from fastqmri.cli.console import note, the_command
from fastqmri.cli.learned import find_network, finishing_option, words_for
from fastqmri.cli.options import (
    FORCE,
    MASK,
    THREADS,
    VariadicCommand,
    acquisition_of,
    acquisition_records,
    check_choice,
    check_level,
    model_command,
    option,
    own_options,
)
from fastqmri.core import AcquisitionError, FileError, PlausibilityError, ShapeError, UnknownNameError
from fastqmri.estimators import CATALOGUE
from fastqmri.methods import is_learned, learned

if TYPE_CHECKING:
    from torch import Tensor

    from fastqmri.core import Acquisition, Measurement, Parameter
    from fastqmri.estimators import Entry
    from fastqmri.estimators.catalogue import Method
    from fastqmri.io import Grid
    from fastqmri.report import InputRecord

app = typer.Typer(no_args_is_help=True, help="Map plain NIfTI files, one command a model.")

_FIT = "Fit"


def _options(entry: Entry) -> list[inspect.Parameter]:
    methods = ", ".join(m.name for m in entry.methods)
    files = [
        option(
            "images",
            list[Path],
            ...,
            "--images",
            "-i",
            help="One 3D file a contrast, in order, or one 4D file.",
        ),
        option("out", Path, ..., "--out", "-o", help="Folder for the maps; made if missing."),
        MASK,
    ]
    for known in _known(entry):
        unit = "" if known.unit in ("1", "fraction") else f" {known.unit}"
        text = f"Map of {known.name}{unit and f' in{unit}'}, {known.description}; {known.nominal:g}{unit} without."
        if known.name == "B1":
            text = "B1+ map, fraction or percent of nominal."
        name = known.name.lower()
        files.append(option(name, Path | None, None, f"--{name.replace('_', '-')}", help=text))
    if _takes_phase(entry):
        files.append(
            option("phase", list[Path] | None, None, "--phase", help="Phase images, for complex data.")
        )
    return [
        *files,
        option("regions", Path | None, None, "--regions", help="Label image to summarise the maps by."),
        option(
            "method",
            str,
            "auto",
            "--method",
            help=f"One of {methods}; auto is {entry.methods[0].name}.{words_for('fit', entry.name)}",
            group=_FIT,
        ),
        finishing_option(_FIT),
        option(
            "noise_model",
            str,
            "gaussian",
            "--noise-model",
            help="gaussian, or rician for weak magnitudes.",
            group=_FIT,
        ),
        option(
            "noise_sd",
            float | None,
            None,
            "--noise-sd",
            help="Noise standard deviation, in units of the images; found from the images if not given.",
            group=_FIT,
        ),
        option(
            "saturation",
            float | None,
            None,
            "--saturation",
            help="Clipping level; found automatically. inf: none.",
            group=_FIT,
        ),
        THREADS,
        FORCE,
    ]


def _known(entry: Entry) -> list[Parameter]:
    """Parameters that are normally measured elsewhere, or are with one of the options; amplitudes come with images."""
    from fastqmri.phantoms import typical_acquisition

    acquisition = typical_acquisition(entry.acquisition, entry.name)
    settings = [{}, *({name: choice} for name, choices in entry.options.items() for choice in choices)]
    found: dict[str, Parameter] = {}
    for chosen in settings:
        for parameter in entry.build(acquisition, **chosen).parameters:
            if parameter.nominal is not None and (not chosen or parameter.unit != "arbitrary"):
                found.setdefault(parameter.name, parameter)
    return list(found.values())


def _companions(entry: Entry) -> list[str]:
    """Names of the options that bring an image each besides those to fit."""
    return [*(p.name.lower() for p in _known(entry)), "mask"]


def _takes_phase(entry: Entry) -> bool:
    return entry.needs_phase or "complex" in entry.options.get("signal", ())


def fit(entry: Entry, values: Mapping[str, Any]) -> None:
    """Run one fit from the values of the command line."""
    from fastqmri.cli.comparison import compare_fit
    from fastqmri.cli.job import Job, deliver, estimate, mask_foreground, require_free, use_threads
    from fastqmri.io import FILE_NAMES

    images, out = list(values["images"]), Path(values["out"])
    named, own = values["method"], own_options(entry, values)
    method = None if is_learned(named) else _classical(entry, named).name
    check_choice("--noise-model", values["noise_model"], ("gaussian", "rician"))
    check_level("--noise-sd", values["noise_sd"], "the images")
    check_level("--saturation", values["saturation"], "the images", most=math.inf)
    require_free([FILE_NAMES.get(name, name) for name in entry.outputs], out, values["force"])
    use_threads(values["threads"])
    acquisition, notes = acquisition_of(entry, values, images)
    if acquisition is None:
        remedy = "Give --bval FILE or --b-value 0,500,1000s/mm2."
        raise AcquisitionError("no b-values", "the model needs them.", remedy)
    network = find_network(
        named, "fit", values["finishing"], entry=entry, acquisition=acquisition, options=own
    )
    if network is not None and values["noise_model"] != "gaussian":
        raise PlausibilityError(
            f"--noise-model {values['noise_model']} for {network.name}",
            "a network knows the noise that it was trained with, and no other.",
            "Leave --noise-model out.",
        )
    measurement, grid, more = _load(entry, images, acquisition, values)
    job = Job(
        title=f"{entry.name.upper()} of {images[0].name}",
        entry=entry,
        measurement=measurement,
        command=the_command(),
        method=method or network.name,  # type: ignore[union-attr]
        noise=values["noise_model"],
        options=own,
        inputs=_records(entry, images, acquisition, values),
        warnings=[*notes, *more],
        network=network,
    )
    if values["regions"] is not None:
        job.regions = _regions(values["regions"], grid)
    if values["mask"] is None:
        mask_foreground(job)
    if network is not None:
        job.warnings += network.warnings(job.measurement)
    for text in job.warnings:
        note(text)
    outcome = estimate(job)
    if network is not None:
        _, edges = network.remarked(outcome.maps)
        job.warnings += [text for text in edges if text not in job.warnings]
        job.comparison = compare_fit(job, outcome)
    sources = [*images, *(Path(values[k]) for k in _companions(entry) if values.get(k) not in (None, "none"))]
    deliver(job, outcome, out, sources)


def _classical(entry: Entry, name: str) -> Method:
    """A method of the entry; what is none is told of the learned ones too."""
    try:
        return entry.method(name)
    except UnknownNameError as error:
        others = learned("fit", entry.name)
        if not others:
            raise
        more = f"{error.remedy.rstrip('.')}; or of the learned ones: {', '.join(others)}."
        raise UnknownNameError(error.read, error.why, more) from error


def _load(
    entry: Entry, images: list[Path], acquisition: Acquisition, values: Mapping[str, Any]
) -> tuple[Measurement, Grid, list[str]]:
    from fastqmri.io import load_plain, read_grid

    mask = None if values["mask"] in (None, "none") else Path(values["mask"])
    measurement, notes = load_plain(
        images, acquisition, mask=mask, b1=values.get("b1"), noise=values["noise_sd"]
    )
    grid, _ = read_grid(images[0])
    for parameter in _known(entry):
        path = values.get(parameter.name.lower())
        if path is not None and parameter.name not in measurement.known:
            value, remark = _known_map(parameter, path, grid)
            measurement = dataclasses.replace(measurement, known={**measurement.known, parameter.name: value})
            notes += remark
    if values.get("phase"):
        data, more = with_phase(measurement.data, values["phase"], grid)
        measurement = dataclasses.replace(measurement, data=data)
        notes += more
    wants_complex = entry.needs_phase or values.get("signal") == "complex"
    if wants_complex and not measurement.data.is_complex():
        raise FileError(
            f"{images[0]} holds magnitudes", "the complex model needs the phase.", "Give --phase."
        )
    return dataclasses.replace(measurement, saturation=values["saturation"]), grid, notes


def _known_map(parameter: Parameter, path: Path, grid: Grid) -> tuple[Tensor, list[str]]:
    from fastqmri.io import read_map

    value, remark = read_map(path, grid)
    measured = value[value > 0]
    median = float(measured.median()) if len(measured) else 0.0
    low, high = parameter.bounds
    if not low <= median <= high:
        raise PlausibilityError(
            f"{path} has a median of {median:.4g}",
            f"{parameter.name} lies between {low:g} and {high:g} {parameter.unit}.",
            f"Give the map in {parameter.unit}.",
        )
    return value, [remark] if remark else []


def with_phase(magnitude: Tensor, files: list[Path], grid: Grid) -> tuple[Tensor, list[str]]:
    """Complex images of magnitudes and the phases in files, and what was assumed.

    Raises:
        FileError, ShapeError, PlausibilityError: phases that don't belong to the magnitudes, or in no known scale.
    """
    import torch

    from fastqmri.io import phase_in_radians, read_images

    raw, own_grid = read_images(files)
    grid.require(own_grid)
    if magnitude.is_complex() or raw.is_complex():
        which = grid.path if magnitude.is_complex() else files[0]
        raise FileError(
            f"{which} holds complex values", "they have their phase already.", "Leave --phase out."
        )
    if len(raw) == 1 and len(magnitude) == 2:
        phase, remark = phase_in_radians(raw, files[0].name)
        difference = f"{files[0].name} was taken for the phase difference of the two echoes."
        both = torch.cat([torch.zeros_like(phase), phase])
        return torch.polar(magnitude, both), [difference, *([remark] if remark else [])]
    if len(raw) != len(magnitude):
        raise ShapeError(
            f"{len(raw)} phase images for {len(magnitude)} magnitude images",
            "every image needs both.",
            "Give one phase image for each magnitude image, in the same order.",
        )
    phase, remark = phase_in_radians(raw, files[0].name)
    return torch.polar(magnitude, phase), [remark] if remark else []


def _records(
    entry: Entry, images: list[Path], acquisition: Acquisition, values: Mapping[str, Any]
) -> list[InputRecord]:
    from fastqmri.report import InputRecord

    source = values["bval"].name if values.get("bval") else "command line"
    rows = [
        InputRecord(image.name, "image", f"{image.stat().st_size / 1e6:.2f} MB", "--images")
        for image in images
    ]
    rows += [InputRecord("", name, value, source) for name, value in acquisition_records(entry, acquisition)]
    rows += [InputRecord(path.name, "phase", "", "--phase") for path in values.get("phase") or ()]
    for name in (*_companions(entry), "regions"):
        if values.get(name) not in (None, "none"):
            rows.append(InputRecord(Path(values[name]).name, name, "", f"--{name}"))
    return rows


def _regions(path: Path, grid: Grid) -> Tensor:
    from fastqmri.io import read_labels

    return read_labels(path, grid)


for _entry in CATALOGUE.values():
    _text = (
        f"{_entry.build.__doc__.splitlines()[0]}\n\n"  # type: ignore[union-attr]
        f"Example:\n\n    fastqmri fit {_entry.name} {_entry.example}"
    )
    app.command(_entry.name, cls=VariadicCommand)(
        model_command(_entry, _options(_entry), fit, _text, needed=True)
    )
