"""``fastqmri simulate MODEL``: a digital phantom as files, with its truth."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from fastqmri.cli.console import say
from fastqmri.cli.options import (
    VariadicCommand,
    acquisition_of,
    acquisition_words,
    begin_folder,
    model_command,
    option,
    own_options,
)
from fastqmri.core import Schedule
from fastqmri.estimators import CATALOGUE
from fastqmri.phantoms import LEAST_SIDE, typical_acquisition

if TYPE_CHECKING:
    from fastqmri.core import Acquisition
    from fastqmri.estimators import Entry

app = typer.Typer(
    no_args_is_help=True,
    help="Simulate a phantom of vials with known truth, for any model; fastqmri phantom makes heads and k-space.",
)


def simulate(entry: Entry, values: Mapping[str, Any]) -> None:
    """Write images, mask, known maps, truth and labels of a phantom."""
    import torch

    from fastqmri.io import write_image, write_json
    from fastqmri.phantoms import vials

    out = Path(values["out"])
    begin_folder(out, force=values["force"])
    acquisition, _ = acquisition_of(entry, values)
    acquisition = acquisition or typical_acquisition(entry.acquisition, entry.name)
    own = own_options(entry, values)
    model = entry.build(acquisition, **own)
    generator = torch.Generator().manual_seed(values["seed"])
    size, slices = values["size"], values["slices"]
    phantom = vials(model, generator, shape=(size, size, slices), snr=values["snr"])
    measurement = phantom.measurement
    images = _write_images(out, measurement, write_image)
    assert measurement.mask is not None
    affine = measurement.affine
    write_image(out / "mask.nii.gz", measurement.mask.to(torch.uint8), affine, name="mask", unit="1")
    write_image(out / "labels.nii.gz", phantom.labels.to(torch.uint8), affine, name="vial", unit="1")
    units = {p.name: p.unit for p in model.parameters}
    for name, value in measurement.known.items():
        write_image(out / f"{name}.nii.gz", value, affine, name=name, unit=units[name])
    for parameter, value in zip(model.parameters, phantom.truth, strict=True):
        path = out / "truth" / f"{parameter.name}.nii.gz"
        write_image(path, value.float(), affine, name=parameter.name, unit=parameter.unit)
    own_words = [_own_word(entry, name, value) for name, value in own.items() if value]
    command = " ".join([_fit_command(entry, acquisition, measurement.known, images, out), *own_words])
    write_json(
        out / "simulation.json",
        {
            "Model": entry.name,
            "Equation": model.equation,
            "Acquisition": acquisition.model_dump(),
            "Units": "SI; b-values in s/mm2, diffusivities in mm2/s",
            "NoiseStandardDeviation": phantom.noise,
            "SNR": values["snr"],
            "Seed": values["seed"],
            "FitCommand": command,
        },
    )
    say(f"Phantom in {out}; map it with\n\n  {command}")


def _write_images(out: Path, measurement: Any, write_image: Any) -> list[str]:
    """4D images (contrast last), magnitude and phase where they are complex; options that name them."""
    data = measurement.data.movedim(0, -1)
    if not data.is_complex():
        write_image(out / "images.nii.gz", data, measurement.affine, name="images", unit="arbitrary")
        return [f"--images {_quoted(out / 'images.nii.gz')}"]
    write_image(out / "magnitude.nii.gz", data.abs(), measurement.affine, name="magnitude", unit="arbitrary")
    write_image(out / "phase.nii.gz", data.angle(), measurement.affine, name="phase", unit="rad")
    return [f"--images {_quoted(out / 'magnitude.nii.gz')}", f"--phase {_quoted(out / 'phase.nii.gz')}"]


def _fit_command(
    entry: Entry, acquisition: Acquisition, known: Mapping[str, Any], images: list[str], out: Path
) -> str:
    from fastqmri.io import write_schedule

    words = [f"fastqmri fit {entry.name}", *images]
    fields = acquisition.model_dump()
    if isinstance(acquisition, Schedule):
        write_schedule(out / "schedule.json", acquisition)
        words.append(f"--schedule {_quoted(out / 'schedule.json')}")
    elif "b_value" in fields:
        words += _write_gradients(out, fields)
    else:
        words += acquisition_words(acquisition)
    words += [f"--{name.lower().replace('_', '-')} {_quoted(out / f'{name}.nii.gz')}" for name in known]
    for flag, name in (("mask", "mask.nii.gz"), ("regions", "labels.nii.gz"), ("out", "maps")):
        words.append(f"--{flag} {_quoted(out / name)}")
    return " ".join(words)


def _own_word(entry: Entry, name: str, value: Any) -> str:
    if name in entry.settings:
        return f"--{name} {entry.settings[name].write(value)}"
    return f"--{name}" if value is True else f"--{name} {value}"


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))


def _write_gradients(out: Path, fields: Mapping[str, Any]) -> list[str]:
    from fastqmri.io import write_text

    write_text(out / "images.bval", " ".join(f"{b:g}" for b in fields["b_value"]) + "\n")
    if fields["b_vector"] is None:
        return [f"--bval {_quoted(out / 'images.bval')}"]
    # FSL's first component points the other way in images of positive determinant, as these are
    columns = list(zip(*fields["b_vector"], strict=True))
    rows = [[-v for v in columns[0]], columns[1], columns[2]]
    write_text(out / "images.bvec", "\n".join(" ".join(f"{v:.9f}" for v in row) for row in rows) + "\n")
    return [f"--bval {_quoted(out / 'images.bval')}", f"--bvec {_quoted(out / 'images.bvec')}"]


_OPTIONS: list[inspect.Parameter] = [
    option("out", Path, ..., "--out", "-o", help="Folder for the files; made if missing."),
    option(
        "snr", float, 50.0, "--snr", help="Brightest sample of the median vial over the noise.", least=0.1
    ),
    option("size", int, 96, "--size", help="Voxels along each side of a slice.", least=LEAST_SIDE),
    option("slices", int, 5, "--slices", help="Number of slices.", least=1),
    option("seed", int, 0, "--seed", help="Same seed, same bytes.", least=0),
    option("force", bool, False, "--force", help="Write into a folder that is not empty."),
]

for _entry in CATALOGUE.values():
    _text = (
        f"Simulate a phantom of vials for {_entry.name}, with truth.\n\n"
        f"Example:\n\n    fastqmri simulate {_entry.name} --snr 50 --seed 1 --out phantom"
    )
    app.command(_entry.name, cls=VariadicCommand)(
        model_command(_entry, _OPTIONS, simulate, _text, needed=False)
    )
