"""``fastqmri recon RAW``: raw k-space in, maps, standard deviations, flags and a report out."""

from __future__ import annotations

import dataclasses
import inspect
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastqmri.cli.comparison import (
    MODEL_BASED,
    PREFIX,
    PlanePair,
    TimedPlanes,
    compare_plane,
    comparison,
    kspace_options,
)
from fastqmri.cli.console import note, progress_bar, the_command
from fastqmri.cli.learned import find_network, finishing_option, words_for
from fastqmri.cli.options import (
    FIELDS,
    FORCE,
    MASK,
    THREADS,
    acquisition_records,
    check_choice,
    check_level,
    command_of,
    option,
)
from fastqmri.core import AcquisitionError, DiffusionWeighted, ShapeError, UnknownNameError
from fastqmri.estimators import CATALOGUE
from fastqmri.methods import learned

if TYPE_CHECKING:
    from torch import Tensor

    from fastqmri.cli.learned import Network
    from fastqmri.core import Acquisition, ParameterMaps
    from fastqmri.estimators import Entry
    from fastqmri.estimators.reconstruction.volume import Plane, PlaneMethod, Planes
    from fastqmri.io.raw import RawScan
    from fastqmri.physics.signal import SignalModel
    from fastqmri.report import ConsistencyTally, InputRecord

MODELS = {
    name: entry
    for name, entry in CATALOGUE.items()
    if entry.acquisition in FIELDS and entry.acquisition is not DiffusionWeighted
}
"""Models whose acquisition a few options describe."""
ALIASES = {"T1": "vfa", "T2": "mese", "T2star": "megre", "T2*": "megre"}
"""Tissue parameter -> the model that is usually meant."""
_COILS = ("espirit", "walsh")
_HEADER = ("echo_time", "repetition_time", "flip_angle", "inversion_time")
_FIT = "Reconstruction"
_MODEL_BASED_TEXT = (
    "Maps straight from k-space: signal model and encoding inverted together, with a total-variation prior."
)


def _acquisition_options() -> list[inspect.Parameter]:
    """One option for every field of the models' acquisitions."""
    found: dict[str, inspect.Parameter] = {}
    for entry in MODELS.values():
        for name, field in FIELDS[entry.acquisition].items():
            help = f"{field.help} Default: what the header says." if name in _HEADER else field.help
            found.setdefault(name, option(name, str | None, None, field.flag, help=help, group="Acquisition"))
    return list(found.values())


def _options() -> list[inspect.Parameter]:
    from fastqmri.estimators.reconstruction import RECONSTRUCTIONS

    raw = inspect.Parameter(
        "raw",
        inspect.Parameter.KEYWORD_ONLY,
        annotation=Annotated[
            list[Path],
            typer.Argument(
                help="ISMRMRD (.h5, .mrd), Siemens (.dat) or fastMRI (.h5) file; several are the contrasts in order."
            ),
        ],
    )
    names = ", ".join([MODEL_BASED, *RECONSTRUCTIONS])
    return [
        raw,
        option(
            "model",
            str,
            ...,
            "--model",
            help=f"One of {', '.join(MODELS)}; T1, T2 and T2star mean vfa, mese and megre.",
        ),
        option("out", Path, ..., "--out", "-o", help="Folder for the maps; made if missing."),
        option(
            "method",
            str,
            "auto",
            "--method",
            help=f"One of {names}; auto is model-based where samples are missing, else cg-sense. "
            f"The list above says what they do.{words_for('recon')}",
            group=_FIT,
        ),
        finishing_option(_FIT),
        option("fit_method", str, "auto", "--fit-method", help="Of the images, as fit --method.", group=_FIT),
        option(
            "weight",
            float | None,
            None,
            "--weight",
            help="Weight of the prior, relative to the default, which follows the noise: 0.5 for less, 2 for more.",
            group=_FIT,
        ),
        option("coil_maps", str, "espirit", "--coil-maps", help=f"One of {', '.join(_COILS)}.", group=_FIT),
        option(
            "contrast_axis",
            str | None,
            None,
            "--contrast-axis",
            help="ISMRMRD counter of the contrasts: contrast, set, repetition or phase, or several joined by +. "
            "Default: the one that varies.",
            group=_FIT,
        ),
        MASK,
        option("b1", Path | None, None, "--b1", help="B1+ map, fraction or percent of nominal."),
        option(
            "noise_sd",
            float | None,
            None,
            "--noise-sd",
            help="Noise standard deviation of one channel of k-space. Default: from the noise scan, or k-space itself.",
            group=_FIT,
        ),
        *_acquisition_options(),
        THREADS,
        FORCE,
    ]


def recon(values: Mapping[str, Any]) -> None:
    """Map one raw scan from the values of the command line."""
    from fastqmri.cli.job import Job, Outcome, deliver, require_free, use_threads
    from fastqmri.estimators.reconstruction.volume import Planes, map_scan
    from fastqmri.io import FILE_NAMES
    from fastqmri.io.finished_pieces import FinishedPieces, maps_as_arrays, maps_of_arrays
    from fastqmri.io.raw import load_raw
    from fastqmri.report import ConsistencyTally

    entry, out, paths = _entry(values["model"]), Path(values["out"]), list(values["raw"])
    check_choice("--coil-maps", values["coil_maps"], _COILS)
    check_level("--noise-sd", values["noise_sd"], "k-space")
    check_level("--weight", values["weight"], "the default, which follows the noise")
    require_free([FILE_NAMES.get(name, name) for name in entry.outputs], out, values["force"])
    use_threads(values["threads"])
    with progress_bar(f"Reading {paths[0].name}"):
        whole = load_raw(paths, contrast_axis=values["contrast_axis"])
        acquisition, origins = _acquisition(entry, values, whole, paths[0])
        planes = Planes.of(whole.prewhitened())
    scan = planes.scan
    method = _method(entry, values, scan, acquisition)
    model = entry.build(acquisition, **method.options)
    mask, known, notes = _companions(values, planes)
    for text in (*scan.notes, *notes):
        note(text)
    noise = values["noise_sd"] or (2**-0.5 if scan.noise is not None else None)
    tally = ConsistencyTally(acquisition.contrasts)
    network = method.network
    weights = "" if network is None else network.trained.card.sha256
    pieces = FinishedPieces(out / ".planes", _identity({**values, "weights": weights}, paths))
    middle = scan.slices // 2
    plane_method = TimedPlanes(method.build(model))
    beside: list[PlanePair] = []

    def keep(plane: Plane) -> None:
        _count(tally, plane, picture=plane.index == middle)
        shown = {}
        if plane.index == middle and tally.picture is not None:
            shown = dict(zip(("measured", "residue"), tally.picture, strict=True))
        if network is not None and (plane.index == middle or not beside):
            beside[:] = [compare_plane(plane, entry, plane_method)]
            shown |= beside[0].arrays()
        arrays = {"images": plane.images.abs(), "tally": tally.state(), **shown, **maps_as_arrays(plane.maps)}
        pieces.save(plane.index, arrays)

    def finished(index: int) -> tuple[ParameterMaps, Tensor] | None:
        arrays = pieces.load(index)
        if arrays is None:
            return None
        shown = (arrays["measured"], arrays["residue"]) if "measured" in arrays else None
        tally.restore(arrays["tally"], shown)
        maps = maps_of_arrays(arrays)
        other = {n.removeprefix(PREFIX): a for n, a in arrays.items() if n.startswith(PREFIX)}
        if other:
            own, its = (float(seconds) for seconds in other["seconds"])
            beside[:] = [PlanePair(maps, maps_of_arrays(other), own, its)]
        return maps, arrays["images"]

    begin = time.perf_counter()
    with progress_bar(f"{entry.name.upper()} by {method.name}") as progress:
        maps, measurement = map_scan(
            planes,
            acquisition,
            plane_method,
            sensitivities=values["coil_maps"],
            mask=mask,
            known=known,
            noise=noise,
            each=keep,
            finished=finished,
            progress=progress,
        )
    seconds = time.perf_counter() - begin - plane_method.beside
    if network is not None:
        maps, edges = network.remarked(maps)
        for text in edges:
            note(text)
        notes += edges
    job = Job(
        title=f"{entry.name.upper()} of {paths[0].name}",
        entry=entry,
        measurement=measurement,
        command=the_command(),
        options=dict(method.options),
        inputs=_records(entry, paths, whole, acquisition, origins, values),
        warnings=[*scan.notes, *notes],
        description=f"{method.name}: {method.description}",
        cited=method.references,
        kspace=tally.result(),
        network=network,
    )
    if network is not None and beside:
        one = beside[0]
        job.comparison = comparison(network, MODEL_BASED, one.own, one.other, one.seconds, one.other_seconds)
    names = tuple(name for name in entry.outputs if name in maps)
    deliver(job, Outcome(maps, model, names, seconds), out, paths)
    pieces.clear()


def _identity(values: Mapping[str, Any], paths: list[Path]) -> str:
    """All that the maps depend on."""
    from fastqmri import __version__

    files = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    settings = {name: str(value) for name, value in values.items() if name not in ("threads", "force", "out")}
    return repr((__version__, files, sorted(settings.items())))


@dataclass(frozen=True)
class _Method:
    """A way from k-space to maps.

    Attributes:
        name: as chosen.
        description: for the records.
        references: bibliography keys.
        options: of the model.
        build: makes it for a model.
        network: that it is.
    """

    name: str
    description: str
    references: tuple[str, ...]
    options: Mapping[str, Any]
    build: Callable[[SignalModel], PlaneMethod]
    network: Network | None = None


def _entry(name: str) -> Entry:
    found = MODELS.get(ALIASES.get(name, name.lower()))
    if found is None:
        raise UnknownNameError(
            f"--model {name}",
            "no such model can be mapped from raw data.",
            f"Use one of {', '.join(ALIASES)} or {', '.join(MODELS)}.",
        )
    return found


def _method(entry: Entry, values: Mapping[str, Any], scan: RawScan, acquisition: Acquisition) -> _Method:
    from fastqmri.estimators.reconstruction import RECONSTRUCTIONS
    from fastqmri.estimators.reconstruction.volume import ImagesFirst

    network = find_network(
        values["method"], "recon", values["finishing"], entry=entry, acquisition=acquisition
    )
    if network is not None:
        from fastqmri.estimators.reconstruction.volume import FromKSpace

        if values["weight"] is not None:
            raise UnknownNameError(
                f"--weight {values['weight']:g} for {network.name}",
                "a network has no such weight.",
                "Leave --weight out.",
            )
        chosen = network
        return _Method(
            network.name,
            network.description.partition(": ")[2],
            network.references,
            {**kspace_options(entry), **dict(network.trained.entry.model_options)},
            lambda model: FromKSpace(chosen.build(model=model)),
            network,
        )
    name, factor = values["method"], values["weight"] or 1.0
    signals = entry.options.get("signal", ())
    if name == "auto":
        name = MODEL_BASED if scan.mask is None or not bool(scan.mask.all()) else "cg-sense"
    check_choice("--method", name, (MODEL_BASED, *RECONSTRUCTIONS, *learned("recon", entry.name)))
    if name == MODEL_BASED:
        from fastqmri.estimators.reconstruction.model_based import ModelBased
        from fastqmri.estimators.reconstruction.volume import FromKSpace

        return _Method(
            name,
            _MODEL_BASED_TEXT,
            ModelBased.references,
            kspace_options(entry),
            lambda model: FromKSpace(_weighted(ModelBased(model), factor)),
        )
    stage, fit = RECONSTRUCTIONS[name], entry.method(values["fit_method"])
    return _Method(
        name,
        f"{stage.description} Then {fit.name}: {fit.description}",
        (*stage.references, *fit.references),
        {"signal": "magnitude"} if "magnitude" in signals else {},
        lambda model: ImagesFirst(
            _weighted(stage.build(model), factor),
            entry.estimator(model, fit.name),
            model,
            stage.needs_coils,
        ),
    )


def _weighted(method: Any, factor: float) -> Any:
    """The method with its prior weighted ``factor`` times its default."""
    if factor == 1:
        return method
    if not hasattr(method, "weight"):
        raise UnknownNameError(
            f"--weight {factor:g} for {method.name}", "this method has no such weight.", "Leave --weight out."
        )
    return dataclasses.replace(method, weight=factor * method.weight)


def _acquisition(
    entry: Entry, values: Mapping[str, Any], scan: RawScan, path: Path
) -> tuple[Acquisition, dict[str, str]]:
    """The acquisition from the options, what they leave out from the header; and where each field came from."""
    fields: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for name, field in FIELDS[entry.acquisition].items():
        stated = getattr(scan, name, ()) if name in _HEADER else ()
        if values.get(name) is not None:
            fields[name], origins[name] = field.parse(values[name]), field.flag
        elif stated:
            fields[name], origins[name] = stated if field.many else stated[0], "header"
        elif field.required:
            raise AcquisitionError(
                f"{path}: no {name.replace('_', ' ')} in the header",
                f"{entry.name} needs it.",
                f"Give {field.flag}.",
            )
    acquisition = entry.acquisition(**fields)
    if acquisition.contrasts != scan.contrasts:
        varied = acquisition.varies
        raise ShapeError(
            f"{path}: {scan.contrasts} contrasts of k-space, {acquisition.contrasts} values of "
            f"{varied.replace('_', ' ')} (from {origins[varied]})",
            "every contrast needs its own.",
            f"Give {FIELDS[entry.acquisition][varied].flag} with one value a contrast, "
            "or say by --contrast-axis what tells the contrasts apart.",
        )
    return acquisition, origins


def _companions(
    values: Mapping[str, Any], planes: Planes
) -> tuple[Tensor | None, dict[str, Tensor], list[str]]:
    """Mask and B1+ on the voxels of the scan, and notes."""
    import torch

    from fastqmri.io import Grid, read_mask
    from fastqmri.io.plain import load_b1

    grid = Grid(Path("k-space"), planes.shape, planes.affine)
    if values["mask"] == "none":
        mask: Tensor | None = torch.ones(planes.shape, dtype=torch.bool)
    else:
        mask = None if values["mask"] is None else read_mask(values["mask"], grid)
    known, notes = ({}, []) if values["b1"] is None else load_b1(values["b1"], grid, mask)
    return mask, known, notes


def _count(tally: ConsistencyTally, plane: Plane, *, picture: bool) -> None:
    """Hold a plane's maps against its k-space."""
    from fastqmri.estimators.reconstruction.images import encoding_of
    from fastqmri.estimators.reconstruction.noise import sample_distance
    from fastqmri.physics.encoding import CartesianEncoding

    measurement = plane.measurement
    encoding, data = encoding_of(measurement), measurement.data
    assert measurement.noise is not None
    tally.add(
        data,
        encoding(plane.predicted),
        sample_distance(encoding, data.real),
        encoding.mask if isinstance(encoding, CartesianEncoding) else None,
        noise=measurement.noise,
        picture=picture,
    )


def _records(
    entry: Entry,
    paths: list[Path],
    scan: RawScan,
    acquisition: Acquisition,
    origins: Mapping[str, str],
    values: Mapping[str, Any],
) -> list[InputRecord]:
    from fastqmri.report import InputRecord

    matrix = " x ".join(map(str, scan.matrix))
    sampling = "Cartesian" if scan.trajectory is None else "non-Cartesian"
    held = f"{scan.slices} x {scan.contrasts} contrasts x {scan.coils} coils, {matrix}, {sampling}"
    rows = [InputRecord(path.name, "k-space", held, "file") for path in paths]
    flags = {
        field.flag.lstrip("-").replace("-", " "): name for name, field in FIELDS[entry.acquisition].items()
    }
    rows += [
        InputRecord("", label, value, origins.get(flags[label], "default"))
        for label, value in acquisition_records(entry, acquisition)
    ]
    rows.append(InputRecord("", "coil maps", values["coil_maps"], "k-space"))
    rows += [
        InputRecord(Path(values[name]).name, role, "", f"--{name}")
        for name, role in (("b1", "B1+ map"), ("mask", "mask"))
        if values[name] not in (None, "none")
    ]
    if values["mask"] is None:
        rows.append(
            InputRecord("", "mask", "automatic: voxels that stand out from the background", "k-space", True)
        )
    return rows


def _description() -> str:
    from fastqmri.estimators.reconstruction import RECONSTRUCTIONS

    texts = {MODEL_BASED: _MODEL_BASED_TEXT, **{name: m.description for name, m in RECONSTRUCTIONS.items()}}
    lines = "\n".join(f"- {name}: {text}" for name, text in texts.items())
    return (
        "Map raw k-space: ISMRMRD, Siemens or fastMRI files in; maps, standard deviations, flags and a report out.\n\n"
        "Example: `fastqmri recon scan.h5 --model T2 --out maps`; the header brings echo times, coils and sampling.\n\n"
        f"Methods:\n\n{lines}"
    )


def command() -> Callable[..., None]:
    """The command, its options made from the catalogue."""
    return command_of(_options(), recon, _description())
