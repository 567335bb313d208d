"""``fastqmri demo``: the main job on real scans that installed packages carry, offline."""

from __future__ import annotations

import io
import pickle
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer

from fastqmri.cli.console import console
from fastqmri.core import FileError

_TR = "3.71ms"
_SOURCE = "mdreg 0.5.4 (abdomen, variable flip angle; TRISTAN liver study, Apache-2.0)"


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the dataset and its maps.")] = Path("fastqmri-demo"),
    keep: Annotated[bool, typer.Option("--keep", help="Keep what an earlier demo made and continue.")] = False,
) -> None:
    """Map real measured scans, from a BIDS folder to maps and reports. Works offline; takes under two minutes.

    The scans come with installed packages: abdominal variable-flip-angle images (T1) with mdreg, diffusion images
    of a brain (tensor) with dipy.

    Example:

        fastqmri demo --out fastqmri-demo
    """
    import shutil

    from fastqmri.cli.run import run

    dataset = out / "bids"
    if out.exists() and not keep:
        _require_own(out)
        shutil.rmtree(out)
    if not dataset.exists():
        console.print("Laying out the scans as a BIDS dataset", highlight=False)
        lay_out(dataset)
    run(dataset, out / "maps", "participant", None, False, False)
    reports = sorted((out / "maps" / "reports").glob("*_report.html"))
    for path in reports:
        console.print(f"Report: {path.resolve()}", markup=False, highlight=False, soft_wrap=True)


def lay_out(root: Path) -> None:
    """Write the scans that installed packages carry as a BIDS dataset.

    Raises:
        FileError: the packages are not installed.
    """
    from fastqmri.io import write_json, write_text

    write_json(
        root / "dataset_description.json",
        {"Name": "fastqmri demo", "BIDSVersion": "1.10.0", "License": "see README.md", "Authors": ["mdreg", "dipy"]},
    )
    write_text(root / "README.md", _README)
    _abdomen(root)
    _brain(root)


def _abdomen(root: Path) -> None:
    import torch

    from fastqmri.io import write_image, write_json

    scan = _restricted_pickle(_packaged("mdreg", "datafiles/VFA.pkl"))
    size = torch.tensor([float(v) for v in scan["spacing"]], dtype=torch.float64)
    data = torch.tensor(scan["array"])
    affine = torch.diag(torch.cat([size, torch.ones(1, dtype=torch.float64)]))
    folder = root / "sub-abdomen" / "anat"
    for i, angle in enumerate(scan["FA"], start=1):
        stem = folder / f"sub-abdomen_flip-{i}_VFA"
        write_image(stem.with_name(f"{stem.name}.nii.gz"), data[..., i - 1], affine, name="VFA", unit="arbitrary")
        write_json(stem.with_name(f"{stem.name}.json"), {"FlipAngle": float(angle)})
    write_json(
        root / "VFA.json",
        {
            "RepetitionTimeExcitation": float(_TR.removesuffix("ms")) / 1000,
            "PulseSequenceType": "SPGR",
        },
    )


def _brain(root: Path) -> None:
    import shutil

    folder = root / "sub-brain" / "dwi"
    folder.mkdir(parents=True, exist_ok=True)
    for name, target in (("small_64D.nii", ".nii"), ("small_64D.bval", ".bval"), ("small_64D.bvec", ".bvec")):
        shutil.copyfile(_packaged("dipy", f"data/files/{name}"), folder / f"sub-brain_dwi{target}")


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


def _require_own(out: Path) -> None:
    description = out / "bids" / "dataset_description.json"
    if not description.exists() or "fastqmri demo" not in description.read_text(encoding="utf-8"):
        raise FileError(f"{out} exists", "it was not made by an earlier demo.", "Choose another --out.")


class _ArraysOnly(pickle.Unpickler):
    """Refuses everything but numpy arrays: a data file must not be able to run code."""

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("numpy") and name in ("_reconstruct", "ndarray", "dtype", "scalar", "_frombuffer"):
            import importlib

            return getattr(importlib.import_module(module.replace("numpy.core", "numpy._core")), name)
        raise pickle.UnpicklingError(f"{module}.{name} is not an array")


def _restricted_pickle(path: Path) -> dict[str, Any]:
    return _ArraysOnly(io.BytesIO(path.read_bytes())).load()


_README = f"""fastqmri demo

Real scans that installed packages carry, laid out as a BIDS dataset.

sub-abdomen: {_SOURCE}. The repetition time, {_TR}, is that of the example in mdreg's documentation; the data file
does not state it.
sub-brain: a small block of a diffusion scan, 64 directions, from the test files of dipy (BSD-3-Clause).
"""
