"""``fastqmri fit MODEL``: plain NIfTI files in, maps, standard deviations, flags and a report out."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import typer

from fastqmri.cli.console import console, errors, show_verdict, the_command
from fastqmri.cli.options import VariadicCommand, acquisition_of, acquisition_records, model_command, option
from fastqmri.core import AcquisitionError, FileError, OutputError, UnknownNameError
from fastqmri.estimators import CATALOGUE

if TYPE_CHECKING:
    from fastqmri.core import Acquisition, Measurement
    from fastqmri.estimators import Entry

app = typer.Typer(no_args_is_help=True, help="Map plain NIfTI files, one command a model.", rich_markup_mode="rich")

_EXAMPLES = {
    "vfa": "--images fa3.nii.gz fa20.nii.gz --flip-angle 3deg,20deg --repetition-time 15ms --b1 b1.nii.gz --out maps",
    "irt1": "--images ir.nii.gz --inversion-time 50,400,1100,2500ms --out maps",
    "looklocker": "--images ll.nii.gz --inversion-time 0.1:0.2:3s --out maps",
    "mese": "--images mese.nii.gz --echo-time 10:10:320ms --mask brain.nii.gz --out maps",
    "mese-stimulated": "--images mese.nii.gz --echo-time 10:10:320ms --mask brain.nii.gz --out maps",
    "megre": "--images e1.nii.gz e2.nii.gz e3.nii.gz --echo-time 14.5,38.5,62.5ms --out maps",
    "megre-complex": "--images mag.nii.gz --phase phase.nii.gz --echo-time 4,8,12ms --out maps",
    "biexponential": "--images mese.nii.gz --echo-time 10:10:320ms --out maps",
    "dti": "--images dwi.nii.gz --bval dwi.bval --bvec dwi.bvec --out maps",
    "adc": "--images trace.nii.gz --b-value 0,500,1000s/mm2 --out maps",
    "ivim": "--images dwi.nii.gz --bval dwi.bval --out maps",
}


def _common(entry: Entry) -> list[inspect.Parameter]:
    methods = ", ".join(f"{m.name} ({m.description})" for m in entry.methods)
    phase = entry.name == "megre-complex" or "complex" in entry.options.get("signal", ())
    b1 = any(p.name == "B1" for p in _model_parameters(entry))
    files = [
        option("images", list[Path], ..., "--images", "-i", help="One 3D file a contrast, in order, or one 4D file."),
        option("out", Path, ..., "--out", "-o", help="Folder for the maps; made if missing."),
        option("mask", Optional[str], None, "--mask", "-m", help="File; or none, to map every voxel. Default: automatic."),
    ]
    if b1:
        files.append(option("b1", Optional[Path], None, "--b1", help="B1+ map, fraction or percent of nominal."))
    if phase:
        files.append(option("phase", Optional[list[Path]], None, "--phase", help="Phase images, for complex data."))
    return [
        *files,
        option("regions", Optional[Path], None, "--regions", help="Label image to summarise the maps by."),
        option("method", str, "auto", "--method", help=f"auto, or: {methods}."),
        option("noise_model", str, "gaussian", "--noise-model", help="gaussian, or rician for weak magnitudes."),
        option("noise_sd", Optional[float], None, "--noise-sd", help="Noise standard deviation, in units of the images."),
        option(
            "saturation", Optional[float], None, "--saturation", help="Clipping level; found automatically. inf: none."
        ),
        option("force", bool, False, "--force", help="Overwrite maps in the output folder."),
    ]


def _model_parameters(entry: Entry) -> tuple[Any, ...]:
    from fastqmri.phantoms import typical_acquisition

    return entry.build(typical_acquisition(entry.acquisition, entry.name)).parameters


def fit(entry: Entry, values: Mapping[str, Any]) -> None:
    """Run one fit from the values of the command line."""
    from fastqmri.cli.job import Job, estimate, estimation, mask_foreground, notes_of, report
    from fastqmri.io import write_plain

    images, out = list(values["images"]), Path(values["out"])
    _check_choices(entry, values)
    _check_out(out, values["force"])
    acquisition, notes = acquisition_of(entry, values, image=images[0])
    if acquisition is None:
        raise AcquisitionError("no b-values", "the model needs them.", "Give --bval FILE or --b-value 0,500,1000s/mm2.")
    measurement, more = _load(entry, images, acquisition, values)
    own = {name: values[name] for name in entry.options if values.get(name) is not None}
    job = Job(
        f"{entry.name.upper()} of {images[0].name}",
        entry,
        measurement,
        the_command(),
        values["method"],
        values["noise_model"],
        own,
        _records(entry, images, acquisition, values),
    )
    if values.get("regions"):
        job.regions = _regions(values["regions"], images[0])
    notes_of(job, [*notes, *more], lambda text: errors.print(f"Note: {text}", markup=False, highlight=False))
    if values["mask"] is None:
        mask_foreground(job)
    outcome = estimate(job)
    sources = [*images, *(values[k] for k in ("b1", "mask") if values.get(k) not in (None, "none"))]
    write_plain(
        out,
        outcome.maps,
        estimation(job, entry.method(job.method).name),
        acquisition=acquisition,
        sources=[str(s) for s in sources],
        names=outcome.names,
    )
    verdict = report(job, outcome, out / "report.html")
    show_verdict(verdict.level, verdict.reasons)
    console.print(f"Maps: {', '.join(outcome.names)} in {out}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"Report: {out / 'report.html'}", markup=False, highlight=False, soft_wrap=True)


def _load(
    entry: Entry, images: list[Path], acquisition: Acquisition, values: Mapping[str, Any]
) -> tuple[Measurement, list[str]]:
    import dataclasses

    from fastqmri.io import load_plain, phase_in_radians, read_images

    mask = None if values["mask"] in (None, "none") else Path(values["mask"])
    measurement, notes = load_plain(images, acquisition, mask=mask, b1=values.get("b1"), noise=values["noise_sd"])
    if values.get("phase"):
        import torch

        raw, _ = read_images(values["phase"])
        phase, note = phase_in_radians(raw, values["phase"][0].name)
        notes += [note] if note else []
        measurement = dataclasses.replace(measurement, data=torch.polar(measurement.data, phase))
    elif entry.name == "megre-complex" and not measurement.data.is_complex():
        raise FileError(
            f"{images[0].name} holds magnitudes", "the complex model needs the phase.", "Give --phase, or use megre."
        )
    return dataclasses.replace(measurement, saturation=values["saturation"]), notes


def _records(entry: Entry, images: list[Path], acquisition: Acquisition, values: Mapping[str, Any]) -> list[Any]:
    from fastqmri.report import InputRecord

    source = values["bval"].name if values.get("bval") else "command line"
    rows = [InputRecord(image.name, "image", f"{image.stat().st_size / 1e6:.2f} MB", "--images") for image in images]
    rows += [InputRecord("", name, value, source) for name, value in acquisition_records(entry, acquisition)]
    for name in ("b1", "mask", "regions"):
        if values.get(name) not in (None, "none"):
            rows.append(InputRecord(Path(values[name]).name, name, "", f"--{name}"))
    return rows


def _regions(path: Path, like: Path) -> Any:
    from fastqmri.io import read_grid, read_map

    grid, _ = read_grid(like)
    labels, _ = read_map(path, grid)
    return labels.round().int()


def _check_choices(entry: Entry, values: Mapping[str, Any]) -> None:
    entry.method(values["method"])
    choices = {**entry.options, "noise_model": ("gaussian", "rician")}
    for name, allowed in choices.items():
        value = values.get(name)
        if value is not None and value not in allowed:
            raise UnknownNameError(
                f"--{name.replace('_', '-')} {value}", "there is no such choice.", f"Use one of {', '.join(allowed)}."
            )


def _check_out(out: Path, force: bool) -> None:
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out}", "it is a file, not a folder.", "Choose another --out.")
    if not force and out.exists() and (out / "report.html").exists():
        raise OutputError(
            f"{out} holds the maps of an earlier run", "they would be overwritten.", "Choose another --out, or --force."
        )


for _entry in CATALOGUE.values():
    _text = (
        f"{_entry.build.__doc__.splitlines()[0]}\n\n"  # type: ignore[union-attr]
        f"Example:\n\n    fastqmri fit {_entry.name} {_EXAMPLES[_entry.name]}"
    )
    app.command(_entry.name, cls=VariadicCommand)(model_command(_entry, _common(_entry), fit, _text, needed=True))
