"""``fastqmri phantom``: an object with known truth as a BIDS dataset and as raw k-space."""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastqmri.cli.console import say
from fastqmri.cli.options import FIELDS, acquisition_words, begin_folder, check_choice
from fastqmri.core import PlausibilityError, UnknownNameError
from fastqmri.estimators import CATALOGUE
from fastqmri.phantoms import SUBJECTS, typical_acquisition

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from fastqmri.core import Measurement
    from fastqmri.estimators import Entry
    from fastqmri.phantoms import Phantom

KINDS = ("ellipses", "brain", "susceptibility")
MODELS = (
    "vfa",
    "irt1",
    "mese",
    "mese-stimulated",
    "megre",
    "megre-complex",
    "mpm",
    "mtsat",
    "b1-afi",
    "b1-dam",
)
"""Those whose images have BIDS names and whose parameters phantoms have."""
_TRANSFER = (0.5, 4.0)
"""MTsat of ellipses in %, about that of fluid to white matter."""
UNITS = {
    "M0": "arbitrary",
    "T1": "s",
    "T2": "s",
    "T2star": "s",
    "F": "1",
    "kr": "1/s",
    "T2r": "s",
    "MTsat": "%",
}
UNITS |= {"ADC": "mm2/s", "Chi": "ppm", "B1": "fraction", "B0": "Hz"}
_HEADER = ("echo_time", "repetition_time", "flip_angle", "inversion_time")
_NOISE_SAMPLES = 2048


def phantom(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the files; made if missing.")],
    model: Annotated[str, typer.Option("--model", help=f"What to scan for: one of {', '.join(MODELS)}.")],
    kind: Annotated[str, typer.Option("--kind", help=f"One of {', '.join(KINDS)}.")] = "ellipses",
    matrix: Annotated[
        str, typer.Option("--matrix", help="64x64 for a slice, 64x64x32 for a volume.")
    ] = "64x64",
    coils: Annotated[int, typer.Option("--coils", help="Receive coils of the k-space.", min=1)] = 4,
    acceleration: Annotated[
        float, typer.Option("--acceleration", help="Of the k-space, by other lines in every contrast.", min=1)
    ] = 4.0,
    snr: Annotated[
        float, typer.Option("--snr", help="Mean first image inside the object over the noise.", min=0.1)
    ] = 60.0,
    seed: Annotated[int, typer.Option("--seed", help="Same seed, same bytes.", min=0)] = 0,
    subject: Annotated[
        str, typer.Option("--subject", help=f"Of a brain: one of {', '.join(SUBJECTS)}.")
    ] = "mni152",
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Folder of brainweb_3d_tissue_s4_s5_s6 and the CIT168 labels."),
    ] = None,
    lesions: Annotated[int, typer.Option("--lesions", help="In the white matter of a brain.", min=0)] = 0,
    force: Annotated[bool, typer.Option("--force", help="Write into a folder that is not empty.")] = False,
) -> None:
    """Draw an object with known truth and scan it: a BIDS dataset of images, and raw k-space (ISMRMRD).

    Meant for whole data sets and for reconstructions: textured ellipses, or a brain, in which tissues share voxels.
    fastqmri simulate makes vials instead, for every model and any acquisition, to check fits with.

    Subjects belong to one part each: train on brainweb-04 and mni152, tune on brainweb-05, judge on brainweb-06.

    Examples:

        fastqmri phantom --model mese --acceleration 5 --out phantom

        fastqmri phantom --kind brain --model vfa --matrix 128x128 --coils 8 --out phantom

        fastqmri phantom --kind susceptibility --model megre-complex --matrix 64x64x64 --out phantom

        fastqmri phantom --kind brain --subject brainweb-06 --data data --model megre --matrix 96x96x60 --out phantom
    """
    import torch

    from fastqmri.io import write_json
    from fastqmri.phantoms import acquire

    check_choice("--kind", kind, KINDS)
    if model not in MODELS:
        raise UnknownNameError(
            f"--model {model}",
            "phantoms lack its parameters, or its images have no BIDS names.",
            f"Use one of {', '.join(MODELS)}; fastqmri simulate knows all models.",
        )
    entry = CATALOGUE[model]
    voxels = _sides(matrix)
    begin_folder(out, force=force)
    generator = torch.Generator().manual_seed(seed)
    phantom = _drawn(kind, voxels, subject, data, lesions, generator)
    acquisition = typical_acquisition(entry.acquisition, entry.name)
    signal = entry.build(acquisition)
    images = acquire(phantom, signal, snr=snr, generator=generator)
    _write_truth(out / "truth", phantom)
    commands = _write_bids(out, entry, _in_space(images), seed)
    commands.append(_write_raw(out, entry, phantom, coils, acceleration, snr, generator))
    write_json(
        out / "phantom.json",
        {
            "Kind": kind,
            "Model": entry.name,
            "Acquisition": acquisition.model_dump(),
            "Matrix": voxels,
            "Coils": coils,
            "Acceleration": acceleration,
            "SNR": snr,
            "NoiseStandardDeviation": images.noise,
            "Seed": seed,
            "Tissues": dict(enumerate(phantom.names)),
            "Drawn": phantom.drawn,
            "Commands": commands,
        },
    )
    shown = "\n".join(f"  {command}" for command in commands)
    say(f"Phantom in {out}, its truth in {out / 'truth'} and {out / 'truth.png'}; map it with\n\n{shown}")


def _sides(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"\d+x\d+(x\d+)?", text) or min(sides := tuple(map(int, text.split("x")))) < 8:
        raise PlausibilityError(
            f"--matrix {text}", "it is two or three sides of at least 8 voxels.", "Write 64x64 or 64x64x32."
        )
    return sides


def _drawn(
    kind: str,
    voxels: tuple[int, ...],
    subject: str,
    data: Path | None,
    lesions: int,
    generator: torch.Generator,
) -> Phantom:
    from fastqmri.phantoms import RANGES, brain, ellipses, load_anatomy

    if kind == "susceptibility":
        return _magnetised(voxels, generator)
    if kind == "ellipses":
        return ellipses(voxels, generator=generator, supersampling=3, ranges={**RANGES, "MTsat": _TRANSFER})
    return brain(load_anatomy(subject, data), generator=generator, voxels=voxels, lesions=lesions)


def _magnetised(voxels: tuple[int, ...], generator: torch.Generator) -> Phantom:
    """Ellipsoids and veins, with the field they make at 3 T as B0 [Hz]."""
    from fastqmri.core.units import GYROMAGNETIC_RATIO
    from fastqmri.phantoms import gradient_echoes, susceptibility_ellipsoids

    if len(voxels) != 3:
        raise PlausibilityError(
            f"--matrix {'x'.join(map(str, voxels))} for susceptibility",
            "its field reaches through the whole volume.",
            "Give three sides, like 64x64x64.",
        )
    drawn = susceptibility_ellipsoids((voxels[0], voxels[1], voxels[2]), generator=generator)
    scan = gradient_echoes(drawn, generator=generator)
    field = scan.field[0].double() * 1e-6 * GYROMAGNETIC_RATIO * scan.field_strength
    maps = {"Chi" if name == "chi" else name: value for name, value in drawn.maps.items()}
    return dataclasses.replace(drawn, maps={**maps, "B0": field})


def _in_space(measurement: Measurement) -> Measurement:
    """Images of a slice with a third axis of one voxel, as image files have it."""
    if len(measurement.voxels) == 3:
        return measurement
    return dataclasses.replace(
        measurement,
        data=measurement.data[..., None],
        mask=None if measurement.mask is None else measurement.mask[..., None],
        known={name: value[..., None] for name, value in measurement.known.items()},
    )


def _write_truth(folder: Path, phantom: Phantom) -> None:
    """Maps, mask, labels and which voxels are of one tissue, and the picture beside the folder."""
    import torch

    from fastqmri.io import write_image
    from fastqmri.report.truth import write_truth_picture

    for name, value in phantom.maps.items():
        write_image(folder / f"{name}.nii.gz", value.float(), phantom.affine, name=name, unit=UNITS[name])
    for name, value in (("mask", phantom.mask), ("labels", phantom.labels), ("pure", phantom.pure)):
        write_image(folder / f"{name}.nii.gz", value.to(torch.uint8), phantom.affine, name=name, unit="1")
    write_truth_picture(folder.with_suffix(".png"), phantom.maps, UNITS, phantom.mask)


def _write_bids(out: Path, entry: Entry, images: Measurement, seed: int) -> list[str]:
    """The dataset of fully sampled images; the commands that map it."""
    from fastqmri.io.scans import begin_dataset, write_scan

    text = f"Images of a phantom with known truth, made by fastqmri phantom with seed {seed}. Nobody was scanned.\n"
    begin_dataset(out / "bids", name="fastqmri phantom", readme=text)
    # the table of tissues is for 3 T
    strength = 3
    paths = write_scan(out / "bids", "phantom", images, {"MagneticFieldStrength": strength})
    files = [f"--images {_listed(paths)}", *acquisition_words(images.acquisition)]
    if images.data.is_complex():
        phases = [Path(str(path).replace("part-mag", "part-phase")) for path in paths]
        files.append(f"--phase {_listed(phases)}")
    mask = f"--mask {_quoted(out / 'truth' / 'mask.nii.gz')}"
    fit = [f"fastqmri fit {entry.name}", *files]
    if "B1" in images.known:
        fit.append(f"--b1 {_quoted(out / 'bids' / 'sub-phantom' / 'fmap' / 'sub-phantom_TB1map.nii.gz')}")
    commands = [[*fit, mask, f"--out {_quoted(out / 'maps')}"]]
    if images.data.is_complex() and min(images.voxels) > 1:
        where = [f"--field-strength {strength}T", mask, f"--out {_quoted(out / 'susceptibility')}"]
        commands.append(["fastqmri qsm", *files, *where])
    return [" ".join(words) for words in commands]


def _write_raw(
    out: Path,
    entry: Entry,
    phantom: Phantom,
    coils: int,
    acceleration: float,
    snr: float,
    generator: torch.Generator,
) -> str:
    """Undersampled k-space with a noise scan; the command that maps it."""
    import torch

    from fastqmri.io.raw import RawScan, write_mrd
    from fastqmri.phantoms import acquire
    from fastqmri.physics.encoding import CartesianEncoding, synthetic_sensitivities, variable_density_lines

    # k-space keeps the polarity that magnitude images lose
    signed = {"signal": "real"} if "real" in entry.options.get("signal", ()) else {}
    acquisition = typical_acquisition(entry.acquisition, entry.name)
    model = entry.build(acquisition, **signed)
    contrasts, voxels = acquisition.contrasts, phantom.voxels
    lines = torch.ones(contrasts, voxels[1], dtype=torch.bool)
    if acceleration > 1:
        lines = variable_density_lines(voxels[1], contrasts, acceleration, generator=generator)
    # the readout runs along the first axis, other lines are left out along the second
    mask = lines.view(contrasts, 1, voxels[1], *(1,) * (len(voxels) - 2)).expand(contrasts, *voxels)
    maps = synthetic_sensitivities(voxels, coils, generator=generator)
    measured = acquire(phantom, model, CartesianEncoding(maps, mask), snr=snr, generator=generator)
    white = torch.randn(2, coils, _NOISE_SAMPLES, dtype=torch.float64, generator=generator) * (
        measured.noise or 0
    )
    header = _header(acquisition)
    size = [float(s) for s in phantom.affine[:3, :3].norm(dim=0)]
    scan = RawScan(
        kspace=_turned(measured.data, len(voxels))[None].to(torch.complex64),
        matrix=voxels[::-1],
        field_of_view=tuple(1e-3 * side * n for side, n in zip(size, voxels, strict=False))[::-1],
        mask=_turned(mask, len(voxels)),
        noise=torch.complex(white[0], white[1]).to(torch.complex64),
        affine=phantom.affine[:, [2, 1, 0, 3]],
        field_strength=3.0,
        echo_time=header.get("echo_time", ()),
        repetition_time=header.get("repetition_time", ()),
        flip_angle=header.get("flip_angle", ()),
        inversion_time=header.get("inversion_time", ()),
    )
    write_mrd(out / "raw" / "scan.h5", scan)
    words = [f"fastqmri recon {_quoted(out / 'raw' / 'scan.h5')} --model {entry.name}"]
    words += acquisition_words(acquisition, without=_HEADER)
    if "B1" in measured.known:
        words.append(f"--b1 {_quoted(out / 'truth' / 'B1.nii.gz')}")
    words.append(f"--mask {_quoted(out / 'truth' / 'mask.nii.gz')} --out {_quoted(out / 'maps-kspace')}")
    return " ".join(words)


def _turned(values: Tensor, dimensions: int) -> Tensor:
    """The last axes in reverse order."""
    kept = values.ndim - dimensions
    return values.permute(*range(kept), *reversed(range(kept, values.ndim))).contiguous()


def _header(acquisition: Any) -> Mapping[str, tuple[float, ...]]:
    """Fields that the header of raw data has a place for."""
    values = {name: getattr(acquisition, name) for name in FIELDS[type(acquisition)] if name in _HEADER}
    return {n: v if isinstance(v, tuple) else (v,) for n, v in values.items() if v is not None}


def _listed(paths: list[Path]) -> str:
    """Files as words of a shell, by a pattern where that gives them in their order."""
    if len(paths) < 4 or paths != sorted(paths):
        return " ".join(_quoted(path) for path in paths)
    pattern = re.sub(r"(?<=_(?:echo|flip)-)\d+|(?<=_inv-)\d+", "*", paths[0].name)
    return f"{_quoted(paths[0].parent)}/{pattern}"


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
