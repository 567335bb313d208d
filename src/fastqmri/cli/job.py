"""One measurement from images to maps and report: what `fit`, `run` and `demo` share."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastqmri.cli.console import progress_bar, say, show_verdict
from fastqmri.core import Measurement, OutputError, ParameterMaps

if TYPE_CHECKING:
    from torch import Tensor

    from fastqmri.cli.learned import Network
    from fastqmri.core import Estimator
    from fastqmri.estimators import Entry
    from fastqmri.io import Estimation
    from fastqmri.physics.signal import SignalModel
    from fastqmri.report import InputRecord, KSpaceConsistency, MethodComparison, Verdict


@dataclass
class Job:
    """A measurement and how to map it.

    Attributes:
        title: for the report.
        entry: of the catalogue.
        measurement: what was measured.
        command: that repeats the run.
        method: of the entry, or ``auto``.
        noise: ``gaussian`` or ``rician``.
        options: of the model; those that the data decide are filled in.
        inputs: rows for the report's table.
        warnings: what the reader must know.
        regions: (*voxels) labels to summarise by, or None.
        description: of the method, where it is not the entry's own.
        cited: bibliography keys of such a method.
        kspace: what k-space says of the maps, where they were made from it.
        network: that makes the maps, in place of the method.
        comparison: of its maps with classical ones.
    """

    title: str
    entry: Entry
    measurement: Measurement
    command: str
    method: str = "auto"
    noise: str = "gaussian"
    options: dict[str, Any] = field(default_factory=dict)
    inputs: list[InputRecord] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    regions: Tensor | None = None
    description: str | None = None
    cited: tuple[str, ...] = ()
    kspace: KSpaceConsistency | None = None
    network: Network | None = None
    comparison: MethodComparison | None = None

    @property
    def described(self) -> str:
        """The method, in words."""
        if self.description is not None:
            return self.description
        if self.network is not None:
            return self.network.description
        method = self.entry.method(self.method)
        return f"{method.name}: {method.description}"

    def model(self) -> SignalModel:
        """The signal model, its open options decided by the data."""
        trained = {} if self.network is None else dict(self.network.trained.entry.model_options)
        decided = {**self.entry.options_for(self.measurement), **trained, **self.options}
        return self.entry.build(self.measurement.acquisition, **decided)


@dataclass(frozen=True)
class Outcome:
    """What came of a job: maps, the names to write and show, how long it took."""

    maps: ParameterMaps
    model: SignalModel
    names: tuple[str, ...]
    seconds: float


def use_threads(count: int) -> None:
    """Let estimates take ``count`` processor threads; 0 leaves it at all there are."""
    import torch

    if count:
        torch.set_num_threads(count)


def mask_foreground(job: Job) -> None:
    """Give a measurement without a mask the automatic one, and say so in the report."""
    from fastqmri.estimators.screening import foreground
    from fastqmri.report import InputRecord

    if job.measurement.mask is not None:
        return
    mask = foreground(job.measurement.data)
    job.measurement = dataclasses.replace(job.measurement, mask=mask)
    share = 100 * float(mask.float().mean())
    rule = f"automatic: voxels that stand out from the background ({share:.0f} % of all)"
    job.inputs.append(InputRecord("", "mask", rule, "images", True))


def estimate(job: Job) -> Outcome:
    """Estimate the maps, with a progress bar."""
    model = job.model()
    begin = time.perf_counter()
    with progress_bar(job.title) as progress:
        estimator: Estimator = (
            job.entry.estimator(model, job.method, noise=job.noise, progress=progress)
            if job.network is None
            else job.network.estimator(model, progress)
        )
        maps = estimator.estimate(job.measurement)
    names = tuple(name for name in job.entry.outputs if name in maps)
    return Outcome(maps, model, names, time.perf_counter() - begin)


def report(job: Job, outcome: Outcome, path: Path) -> tuple[Verdict, dict[Path, str]]:
    """The verdict, and the report with its metrics, file by file; nothing is written yet."""
    from fastqmri.report import ReportContent, render_report

    name = job.described + (", Rician likelihood" if job.noise == "rician" else "")
    content = ReportContent(
        title=job.title,
        maps=outcome.maps,
        measurement=job.measurement,
        model=outcome.model,
        method=name,
        command=job.command,
        inputs=tuple(job.inputs),
        shown=tuple(n for n in outcome.names if not n.startswith("D") or n in ("D", "Dstar")),
        references=references(job),
        warnings=tuple(job.warnings),
        seconds=outcome.seconds,
        regions=job.regions,
        kspace=job.kspace,
        comparison=job.comparison,
    )
    return render_report(path, content)


def references(job: Job) -> tuple[str, ...]:
    """Bibliography keys of exactly the parts used."""
    rician = ("gudbjartsson1995",) if job.noise == "rician" else ()
    if job.description is not None:
        methods = job.cited
    elif job.network is not None:
        methods = job.network.references
    else:
        methods = job.entry.method(job.method).references
    used = (*job.model().references, *methods, *rician)
    return tuple(dict.fromkeys(used))


def estimation(job: Job, label: str) -> Estimation:
    """How the maps were made, for their sidecars."""
    from fastqmri.core.references import doi
    from fastqmri.io import Estimation

    reference = next((found for key in references(job)[::-1] if (found := doi(key))), "")
    algorithm = f"{job.model().title}; {job.described.partition(': ')[2]}; {job.noise} noise"
    # BIDS allows only letters and digits in a label
    return Estimation(
        label.replace("-", ""),
        algorithm,
        f"doi:{reference}" if reference else "",
        details={} if job.network is None else job.network.provenance,
    )


def require_free(names: Sequence[str], out: Path, force: bool) -> None:
    """Refuse what could only fail after the estimate, and to overwrite: earlier maps, or anybody's files."""
    existing = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    if not existing.is_dir():
        raise OutputError(f"--out {out}", f"{existing} is a file, not a folder.", "Choose another --out.")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise OutputError(
            f"--out {out}",
            f"{existing} is read-only for this user.",
            "Choose another --out, or give yourself the right to write there.",
        )
    files = ["report.html", *(f"{name}.nii.gz" for name in names)]
    found = next((name for name in files if (out / name).exists()), None)
    if found and not force:
        raise OutputError(
            f"{out} holds {found} already", "it would be overwritten.", "Choose another --out, or --force."
        )


def deliver(job: Job, outcome: Outcome, out: Path, sources: Sequence[Path]) -> None:
    """Write maps and report into a plain folder, and show the verdict.

    Everything is at hand before the first file appears; the page comes last, as the sign that all is there.
    """
    from fastqmri.io import write_plain, write_text

    page = out / "report.html"
    verdict, pages = report(job, outcome, page)
    page.unlink(missing_ok=True)
    write_plain(
        out,
        outcome.maps,
        estimation(job, job.described.partition(":")[0]),
        acquisition=job.measurement.acquisition,
        sources=sources,
        names=outcome.names,
    )
    for path, text in pages.items():
        write_text(path, text)
    show_verdict(verdict.level, verdict.reasons)
    say(f"Maps: {', '.join(outcome.names)} in {out}")
    say(f"Open the report in a browser: {page.resolve()}")
