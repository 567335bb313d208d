"""``fastqmri qsm``: susceptibility of multi-echo magnitude and phase, from BIDS or from plain NIfTI files."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastqmri.cli.comparison import comparison
from fastqmri.cli.console import console, note, progress_bar, say, show_error, show_verdict, the_command
from fastqmri.cli.fit import with_phase
from fastqmri.cli.job import require_free
from fastqmri.cli.learned import find_network
from fastqmri.cli.options import check_choice
from fastqmri.cli.resume import fingerprint, once, write_index_of
from fastqmri.cli.run import SOME_FAILED, input_records
from fastqmri.core import FileError, Measurement, OutputError, PlausibilityError, SidecarError, UnitError
from fastqmri.core.units import FIELD, TIME, format_quantity, parse_quantities, parse_quantity
from fastqmri.estimators.susceptibility import BACKGROUND_REMOVALS, INVERSIONS, echo_combination, unwrapping
from fastqmri.methods import learned

if TYPE_CHECKING:
    from torch import Tensor

    from fastqmri.cli.learned import Network
    from fastqmri.core import ParameterMaps
    from fastqmri.estimators.susceptibility.mapping import SusceptibilityMapping
    from fastqmri.io import Collection, Estimation, Grid
    from fastqmri.report import InputRecord, MethodComparison, Verdict

_STAGES, _FILES = "Stages", "Plain files"
_SUFFIX = "MEGRE"
_NETWORK = "network"
_CLASSICAL = "tv"
_ONE_ORIENTATION = tuple(name for name, one in INVERSIONS.items() if one.least_orientations == 1)


def qsm(
    bids_dir: Annotated[Path | None, typer.Argument(help="Root of the BIDS dataset.")] = None,
    out_dir: Annotated[
        Path | None, typer.Argument(help="Root of the derivative dataset; made if missing.")
    ] = None,
    participant_label: Annotated[
        list[str] | None, typer.Option("--participant-label", help="Only these subjects, without 'sub-'.")
    ] = None,
    images: Annotated[
        list[Path] | None,
        typer.Option(
            "--images", "-i", help="Magnitudes, one 3D file an echo or one 4D file.", rich_help_panel=_FILES
        ),
    ] = None,
    phase: Annotated[
        list[Path] | None, typer.Option("--phase", help="Phases in the same order.", rich_help_panel=_FILES)
    ] = None,
    echo_time: Annotated[
        str | None, typer.Option("--echo-time", help="Echo times, like 4,8,12ms.", rich_help_panel=_FILES)
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder for the maps; made if missing.", rich_help_panel=_FILES),
    ] = None,
    mask: Annotated[
        Path | None,
        typer.Option(
            "--mask", "-m", help="File of the voxels to map, of the brain as a rule. Default: automatic."
        ),
    ] = None,
    field_strength: Annotated[
        str | None, typer.Option("--field-strength", help="B0, like 3T; read from the sidecars if not given.")
    ] = None,
    b0_direction: Annotated[
        str | None,
        typer.Option(
            "--b0-direction", help="Along the voxel axes, like 0,0,1; told by the affine if not given."
        ),
    ] = None,
    unwrap: Annotated[
        str, typer.Option("--unwrap", help="region-growing or laplacian.", rich_help_panel=_STAGES)
    ] = "region-growing",
    combine: Annotated[
        str,
        typer.Option("--combine", help="Fit of the echoes: nonlinear or linear.", rich_help_panel=_STAGES),
    ] = "nonlinear",
    background: Annotated[
        str,
        typer.Option(
            "--background", help="pdf, v-sharp, resharp, lbv, sharp or none.", rich_help_panel=_STAGES
        ),
    ] = "pdf",
    method: Annotated[
        str,
        typer.Option(
            "--method",
            help="Dipole inversion: auto, tkd, tsvd, l2, tv, medi, ndi, or a network, modl-qsm.",
            rich_help_panel=_STAGES,
        ),
    ] = "auto",
    finishing: Annotated[
        bool | None,
        typer.Option(
            "--finishing/--no-finishing",
            help="Steps on the exact physics after a learned method; default: what its card says.",
            rich_help_panel=_STAGES,
        ),
    ] = None,
    reference: Annotated[
        str,
        typer.Option(
            "--reference",
            help="Where the mean susceptibility is zero: mask, a mask file, or LABELS.nii.gz:NUMBER.",
            rich_help_panel=_STAGES,
        ),
    ] = "mask",
    force: Annotated[bool, typer.Option("--force", help="Map again, and overwrite.")] = False,
    threads: Annotated[int, typer.Option("--threads", help="Processor threads; 0 takes all.", min=0)] = 0,
) -> None:
    """Map magnetic susceptibility from multi-echo magnitude and phase.

    Of a BIDS dataset, every MEGRE scan with part-phase images; or plain NIfTI files.
    Writes susceptibility in ppm relative to a stated region, the local and the total field, their standard deviations,
    flags, the mask, and a report. Echoes are taken for monopolar: a bipolar readout is not corrected.

    Examples:

        fastqmri qsm study study/derivatives/qsm

        fastqmri qsm --images mag.nii.gz --phase phase.nii.gz --echo-time 4,8,12ms --field-strength 3T --out maps
    """
    from fastqmri.cli.job import use_threads

    settings = _settings(unwrap, combine, background, method, b0_direction, finishing)
    strength = (
        None if field_strength is None else parse_quantity(field_strength, FIELD, name="--field-strength")
    )
    use_threads(threads)
    if images:
        if bids_dir is not None:
            raise FileError(
                f"{bids_dir} beside --images",
                "a run maps a dataset or plain files.",
                "Leave one of them out.",
            )
        _map_files(images, phase, echo_time, out, mask, strength, settings, reference, force=force)
    elif bids_dir is not None and out_dir is not None:
        if not _map_dataset(
            bids_dir, out_dir, participant_label, mask, strength, settings, reference, force=force
        ):
            raise typer.Exit(SOME_FAILED)
    else:
        raise FileError(
            "neither a dataset with an output folder nor --images",
            "there is nothing to map.",
            "Give BIDS_DIR OUT_DIR; or --images, --phase, --echo-time, --field-strength and --out.",
        )


def _settings(
    unwrap: str, combine: str, background: str, method: str, direction: str | None, finishing: bool | None
) -> dict[str, Any]:
    """Settings of the mapping but the field strength; what is unknown is refused before anything is read."""

    check_choice("--unwrap", unwrap, unwrapping.METHODS)
    check_choice("--combine", combine, echo_combination.METHODS)
    check_choice("--background", background, tuple(BACKGROUND_REMOVALS))
    network = find_network(method, "qsm", finishing)
    check_choice("--method", method, ("auto", *_ONE_ORIENTATION, *learned("qsm")))
    along: tuple[float, ...] | None = None
    if direction is not None:
        try:
            along = tuple(float(part) for part in direction.split(","))
        except ValueError:
            along = ()
        if len(along) != 3 or not any(along):
            raise UnitError(
                f"--b0-direction {direction}", "it is a vector along the voxel axes.", "Write it like 0,0,1."
            )
    return {
        "unwrap": unwrap,
        "combine": combine,
        "background": background,
        "inversion": method if network is None else network.build(),
        "b0_direction": along,
        _NETWORK: network,
    }


@dataclass(frozen=True)
class _Outcome:
    """What came of a scan."""

    maps: ParameterMaps
    mask: Tensor
    estimation: Estimation
    verdict: Verdict
    pages: dict[Path, str]


def _map(
    title: str,
    measurement: Measurement,
    mapping: SusceptibilityMapping,
    page: Path,
    inputs: list[InputRecord],
    warnings: list[str],
    network: Network | None,
) -> _Outcome:
    """Estimate and judge; nothing is written yet."""
    from fastqmri.core.references import author_year, doi
    from fastqmri.estimators.susceptibility import automatic_mask
    from fastqmri.io import Estimation
    from fastqmri.physics.signal import PhaseEvolution
    from fastqmri.report import InputRecord, ReportContent, render_report

    if measurement.mask is None:
        found = automatic_mask(measurement.data)
        measurement = dataclasses.replace(measurement, mask=found)
        share = 100 * float(found.float().mean())
        rule = f"automatic: the largest bright region without its surface ({share:.0f} % of all voxels)"
        inputs.append(InputRecord("", "mask", rule, "images", True))
    begin = time.perf_counter()
    with progress_bar(title) as progress:
        maps = dataclasses.replace(mapping, progress=progress).estimate(measurement)
    seconds = time.perf_counter() - begin
    if network is not None:
        maps, edges = network.remarked(maps)
        for text in edges:
            note(text)
        warnings = [*warnings, *edges]
    assert measurement.mask is not None
    times = ", ".join(format_quantity(t, TIME) for t in measurement.acquisition.echo_time)  # type: ignore[attr-defined]
    cited = "; ".join(author_year(key) for key in mapping.references)
    procedure = (
        f"Susceptibility was estimated from the phase of {measurement.acquisition.contrasts} gradient echoes "
        f"(echo times {times}) at {format_quantity(mapping.field_strength, FIELD)}: {mapping.description} "
        f"({cited}). {maps.notes[0]}"
    )
    content = ReportContent(
        title=title,
        maps=maps,
        measurement=measurement,
        model=PhaseEvolution(measurement.acquisition),  # type: ignore[arg-type]
        method=mapping.description,
        command=the_command(),
        inputs=tuple(inputs),
        shown=maps.names,
        references=mapping.references,
        warnings=tuple(warnings),
        seconds=seconds,
        procedure=procedure,
        comparison=None if network is None else _compared(network, maps, mapping, measurement, seconds),
    )
    verdict, pages = render_report(page, content)
    found_doi = next((at for key in mapping.references[::-1] if (at := doi(key))), "")
    details = {
        "ReferenceRegion": maps.notes[0],
        "MagneticFieldStrength": mapping.field_strength,
        "EchoTime": list(measurement.acquisition.echo_time),  # type: ignore[attr-defined]
    }
    estimation = Estimation(
        f"qsm{mapping.chosen.replace('-', '')}",
        mapping.description,
        f"doi:{found_doi}" if found_doi else "",
        details=details if network is None else {**details, **network.provenance},
    )
    return _Outcome(maps, measurement.mask, estimation, verdict, pages)


def _compared(
    network: Network,
    maps: ParameterMaps,
    mapping: SusceptibilityMapping,
    measurement: Measurement,
    seconds: float,
) -> MethodComparison:
    """The same scan with the classical inversion."""
    begin = time.perf_counter()
    with progress_bar(f"{_CLASSICAL}, to compare") as progress:
        classical = dataclasses.replace(mapping, inversion=_CLASSICAL, progress=progress)
        other = classical.estimate(measurement)
    found = comparison(network, _CLASSICAL, maps, other, seconds, time.perf_counter() - begin)
    return dataclasses.replace(found, names=("Chi",))


def _map_files(
    images: list[Path],
    phase: list[Path] | None,
    echo_time: str | None,
    out: Path | None,
    mask: Path | None,
    strength: float | None,
    settings: dict[str, Any],
    reference: str,
    *,
    force: bool,
) -> None:
    from fastqmri.core import MultiEchoGradientEcho
    from fastqmri.io import load_plain, read_grid, write_plain, write_text
    from fastqmri.report import InputRecord

    if out is None:
        raise OutputError("no --out", "the maps must go somewhere.", "Give --out FOLDER.")
    if echo_time is None or strength is None:
        lacking = "--echo-time" if echo_time is None else "--field-strength"
        raise UnitError(
            f"plain images without {lacking}",
            "phase in rad is turned into field in ppm by both.",
            "Give --echo-time 4,8,12ms and --field-strength 3T.",
        )
    require_free(("Chimap", "total_field"), out, force)
    mapping = _mapping(strength, settings)
    acquisition = MultiEchoGradientEcho(echo_time=parse_quantities(echo_time, TIME, name="--echo-time"))
    measurement, warnings = load_plain(images, acquisition, mask=mask)
    grid, _ = read_grid(images[0])
    if phase:
        data, more = with_phase(measurement.data, phase, grid)
        measurement = dataclasses.replace(measurement, data=data)
        warnings += more
    elif not measurement.data.is_complex():
        raise FileError(
            f"{images[0]} holds magnitudes", "susceptibility is told by the phase.", "Give --phase."
        )
    mapping = dataclasses.replace(mapping, reference=_reference(reference, grid))
    for text in warnings:
        note(text)
    inputs = [InputRecord(path.name, "magnitude", "", "--images") for path in images]
    inputs += [InputRecord(path.name, "phase", "", "--phase") for path in phase or ()]
    inputs.append(InputRecord("", "echo time", echo_time, "--echo-time"))
    inputs.append(_strength_record(mapping, "--field-strength"))
    if mask is not None:
        inputs.append(InputRecord(mask.name, "mask", "", "--mask"))
    page = out / "report.html"
    outcome = _map(
        f"QSM of {images[0].name}", measurement, mapping, page, inputs, warnings, settings[_NETWORK]
    )
    page.unlink(missing_ok=True)
    sources = [*images, *(phase or ()), *([mask] if mask else [])]
    write_plain(
        out, outcome.maps, outcome.estimation, acquisition=acquisition, sources=sources, mask=outcome.mask
    )
    for path, text in outcome.pages.items():
        write_text(path, text)
    show_verdict(outcome.verdict.level, outcome.verdict.reasons)
    say(f"Maps: {', '.join(outcome.maps.names)} in {out}")
    say(f"Open the report in a browser: {page.resolve()}")


def _map_dataset(
    root: Path,
    out_dir: Path,
    participants: list[str] | None,
    mask: Path | None,
    strength: float | None,
    settings: dict[str, Any],
    reference: str,
    *,
    force: bool,
) -> bool:
    """Map every scan; whether all went well."""
    from fastqmri.io import begin_derivatives, find_collections

    scans = [one for one in find_collections(root, participants) if one.suffix == _SUFFIX]
    if not scans:
        raise FileError(
            f"{root} without any {_SUFFIX} scan",
            "susceptibility needs multi-echo gradient echoes, like sub-01/anat/sub-01_echo-1_part-phase_MEGRE.nii.gz.",
            "Run fastqmri validate on the dataset, or name the files with --images and --phase.",
        )
    begun = False
    results: Counter[str] = Counter()
    for scan in scans:
        try:
            mapping = _ready(scan, strength, settings)
        except (FileError, SidecarError, PlausibilityError) as error:
            say(f"{scan.name}: skipped")
            show_error(error)
            results["skipped"] += 1
            continue
        if not begun:
            begin_derivatives(out_dir, root)
            begun = True
        if mask is not None:
            scan.mask = mask
        key = fingerprint(scan, repr((mapping, reference, _state(reference))))
        process = _process(scan, out_dir, mapping, reference, settings[_NETWORK])
        results[once(f"{scan.name}_qsm", key, out_dir, process, force=force)] += 1
    console.rule()
    say(", ".join(f"{count} {result}" for result, count in results.items()))
    if begun:
        write_index_of(out_dir)
    return not (results["failed"] or results["skipped"])


def _process(
    scan: Collection, out_dir: Path, mapping: SusceptibilityMapping, reference: str, network: Network | None
) -> Callable[[], tuple[list[Path], Verdict]]:
    def process() -> tuple[list[Path], Verdict]:
        from fastqmri.io import read_grid, write_derivatives, write_text

        measurement = scan.load(complex=True)
        grid, _ = read_grid(scan.files[0])
        ready = dataclasses.replace(mapping, reference=_reference(reference, grid))
        page = out_dir / "reports" / f"{scan.name}_qsm_report.html"
        inputs = [*input_records(scan), _strength_record(ready, "sidecars or --field-strength")]
        outcome = _map(f"QSM of {scan.name}", measurement, ready, page, inputs, scan.warnings, network)
        written = write_derivatives(out_dir, scan, outcome.maps, outcome.estimation, mask=outcome.mask)
        for path, text in outcome.pages.items():
            write_text(path, text)
        return [*written, *outcome.pages], outcome.verdict

    return process


def _strength_record(mapping: SusceptibilityMapping, source: str) -> InputRecord:
    from fastqmri.report import InputRecord

    return InputRecord("", "field strength", format_quantity(mapping.field_strength, FIELD), source)


def _ready(scan: Collection, strength: float | None, settings: dict[str, Any]) -> SusceptibilityMapping:
    """The mapping of a scan.

    Raises:
        FileError: without phases, or the scan's own problem.
        SidecarError: no field strength.
    """
    if scan.problem is not None:
        raise scan.problem
    if not scan.has_complex:
        remarks = " ".join(scan.warnings)
        raise FileError(
            f"{scan.name} has no phase for every magnitude. {remarks}".rstrip(),
            "susceptibility is told by the phase, and every echo needs both.",
            "Add the missing part-phase images, one for each part-mag image.",
        )
    if strength is None:
        strength = scan.constants.get("MagneticFieldStrength")
    if strength is None:
        raise SidecarError(
            f"no MagneticFieldStrength beside {scan.files[0].name}",
            "without it the field can't be told in ppm.",
            'Write "MagneticFieldStrength": <value in T> into the JSON file, or give --field-strength 3T.',
        )
    return _mapping(float(strength), settings)


def _mapping(strength: float, settings: dict[str, Any]) -> SusceptibilityMapping:
    from fastqmri.estimators.susceptibility import SusceptibilityMapping

    return SusceptibilityMapping(strength, **{k: v for k, v in settings.items() if k != _NETWORK})


def _reference(text: str, grid: Grid) -> Tensor | None:
    """The region whose mean is zero: None for the whole mask.

    Raises:
        FileError: no such file, or a label that it doesn't hold.
    """
    from fastqmri.io import read_labels, read_mask

    if text == "mask":
        return None
    name, colon, label = text.rpartition(":")
    if not (colon and label.isdigit()):
        return read_mask(Path(text), grid)
    region = read_labels(Path(name), grid) == int(label)
    if not bool(region.any()):
        raise FileError(f"--reference {text}", f"{name} has no voxel of {label}.", "Choose another label.")
    return region


def _state(reference: str) -> tuple[float, int] | None:
    """What tells one version of the reference's file from another."""
    path = Path(reference.rpartition(":")[0] if ":" in reference else reference)
    return (path.stat().st_mtime, path.stat().st_size) if path.is_file() else None
