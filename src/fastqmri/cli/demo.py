"""``fastqmri demo``: the main job on real scans that installed packages carry, offline."""

from __future__ import annotations

import importlib
import io
import pickle
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer

from fastqmri.cli.console import say
from fastqmri.core import FileError, OutputError

_NAME = "fastqmri demo"
_FOLDER = Path("fastqmri-demo")
_LAST = "README.md"
"""Written when all the rest of the dataset is there."""
_TR = 3.71e-3
_SOURCE = "mdreg 0.5.4 (abdomen, variable flip angle; TRISTAN liver study, Apache-2.0)"


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the dataset and its maps.")] = _FOLDER,
    keep: Annotated[bool, typer.Option("--keep", help="Continue what an earlier demo began.")] = False,
    threads: Annotated[int, typer.Option("--threads", help="Processor threads; 0 takes all.", min=0)] = 0,
) -> None:
    """Map real measured scans, from a BIDS folder to maps and reports. Works offline, in under two minutes.

    The scans come with installed packages: abdominal variable-flip-angle images (T1) with mdreg,
    diffusion images of a brain (tensor) with dipy.

    Example:

        fastqmri demo --out fastqmri-demo
    """
    from fastqmri.cli.job import use_threads
    from fastqmri.cli.run import SOME_FAILED, map_dataset

    use_threads(threads)
    dataset, maps = out / "bids", out / "maps"
    if not keep:
        _clear(dataset, maps)
    if not (dataset / _LAST).exists():
        say("Laying out the scans as a BIDS dataset")
        lay_out(dataset)
    went_well = map_dataset(dataset, maps)
    for path in sorted((maps / "reports").glob("*_report.html")):
        say(f"Report: {path.resolve()}")
    if not went_well:
        raise typer.Exit(SOME_FAILED)


def lay_out(root: Path) -> None:
    """Write the scans that installed packages carry as a BIDS dataset.

    Raises:
        FileError: the packages are not installed.
    """
    from fastqmri.io import write_json, write_text

    description = {
        "Name": _NAME,
        "BIDSVersion": "1.10.0",
        "DatasetType": "raw",
        "License": "see README.md",
        "Authors": ["the authors of mdreg", "the authors of dipy"],
    }
    write_json(root / "dataset_description.json", description)
    _abdomen(root)
    _brain(root)
    write_text(root / _LAST, _README)


def _abdomen(root: Path) -> None:
    import torch

    from fastqmri.io import write_image, write_json

    scan = _restricted_pickle(_packaged("mdreg", "datafiles/VFA.pkl"))
    size = torch.tensor([float(v) for v in scan["spacing"]], dtype=torch.float64)
    data = torch.tensor(scan["array"])
    # the axes run to the left, to the feet and to the back, judged by the anatomy: the file does not say
    affine = torch.eye(4, dtype=torch.float64)[[0, 2, 1, 3]] * torch.cat([-size, torch.ones(1)])
    folder = root / "sub-abdomen" / "anat"
    for i, angle in enumerate(scan["FA"], start=1):
        stem = folder / f"sub-abdomen_flip-{i}_VFA"
        image = stem.with_name(f"{stem.name}.nii.gz")
        write_image(image, data[..., i - 1], affine, name="VFA", unit="arbitrary")
        write_json(stem.with_name(f"{stem.name}.json"), {"FlipAngle": float(angle)})
    write_json(root / "VFA.json", {"RepetitionTimeExcitation": _TR, "PulseSequenceType": "SPGR"})


def _brain(root: Path) -> None:
    import shutil

    from fastqmri.io import atomic, write_text

    folder = root / "sub-brain" / "dwi"
    for ending in (".nii", ".bval"):
        with atomic(folder / f"sub-brain_dwi{ending}") as temporary:
            shutil.copyfile(_packaged("dipy", f"data/files/small_64D{ending}"), temporary)
    # dipy's test file has a column for each axis, BIDS wants a row
    lines = _packaged("dipy", "data/files/small_64D.bvec").read_text(encoding="utf-8").splitlines()
    rows = zip(*(line.split() for line in lines if line.strip()), strict=True)
    write_text(folder / "sub-brain_dwi.bvec", "".join(" ".join(row) + "\n" for row in rows))


def _packaged(package: str, name: str) -> Path:
    try:
        files = metadata.files(package) or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if str(file).endswith(name):
            return Path(str(file.locate()))
    raise FileError(
        f"the scans that the package {package} carries",
        f"{package} is not installed (or not the release that carries {name}).",
        'Install the extra: pip install "fastqmri[demo]".',
    )


def _clear(dataset: Path, maps: Path) -> None:
    """Remove an earlier demo, and nothing else."""
    import shutil

    if not (dataset.exists() or maps.exists()):
        return
    description = dataset / "dataset_description.json"
    if not description.exists() or _NAME not in description.read_text(encoding="utf-8"):
        raise OutputError(
            f"{dataset.parent} holds {dataset.name} or {maps.name} already",
            "no earlier demo made it.",
            "Choose another --out.",
        )
    shutil.rmtree(maps, ignore_errors=True)
    shutil.rmtree(dataset)


_ARRAY_PARTS = ("_reconstruct", "ndarray", "dtype", "scalar", "_frombuffer")


class _ArraysOnly(pickle.Unpickler):
    """Refuses everything but numpy arrays: a data file must not be able to run code."""

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("numpy") and name in _ARRAY_PARTS:
            return getattr(importlib.import_module(module.replace("numpy.core", "numpy._core")), name)
        raise pickle.UnpicklingError(f"{module}.{name} is not an array")


def _restricted_pickle(path: Path) -> dict[str, Any]:
    return _ArraysOnly(io.BytesIO(path.read_bytes())).load()


_README = f"""fastqmri demo

Real scans that installed packages carry, laid out as a BIDS dataset.

sub-abdomen: {_SOURCE}.
The repetition time, {1e3 * _TR:g} ms, is that of the example in mdreg's documentation; the data file does not
state it.

sub-brain: a small block of a diffusion scan, 64 directions, from the test files of dipy (BSD-3-Clause).
"""
