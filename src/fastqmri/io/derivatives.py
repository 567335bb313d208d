"""Estimates written to disk: as a plain folder, or as a BIDS derivative dataset."""

from __future__ import annotations

import os
import re
from collections.abc import Collection as AnyOf
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from itertools import chain
from pathlib import Path

from torch import Tensor

from fastqmri.core import Acquisition, OutputError, ParameterMaps
from fastqmri.io.atomic import write_json, write_text
from fastqmri.io.bids import Collection, Dataset
from fastqmri.io.maps import Estimation, Product, products
from fastqmri.io.sidecars import read_json

BIDS_VERSION = "1.10.0"
_GENERATOR = "fastqmri"
_TISSUE = (
    *("T1map", "R1map", "T2map", "R2map", "T2starmap", "R2starmap", "M0map", "S0map", "PDmap", "MTRmap"),
    *("MTsat", "FA", "ADC", "dseg"),
)
_LEGAL = {"anat": (*_TISSUE, "Chimap", "mask"), "dwi": _TISSUE, "fmap": ("TB1map", "fieldmap", "magnitude")}
"""Suffixes of maps that BIDS knows in a folder; others are named after their parameter and listed in .bidsignore."""
_ROLES = {"": "", "sd": "Sd"}
"""Role of a product -> end of its label."""
_KEPT_ENTITIES = {
    "anat": ("sub", "ses", "task", "acq", "ce", "rec", "run", "chunk"),
    "dwi": ("sub", "ses", "acq", "rec", "dir", "run", "chunk"),
    "fmap": ("sub", "ses", "acq", "ce", "dir", "run", "chunk"),
}
"""Entities that a map's name may carry, in BIDS's order; what else tells scans apart goes into desc."""
_README = """\
# Quantitative maps made by fastqmri

Every map has its unit in the JSON file beside it, and a companion of the same suffix whose desc label ends
in Sd: the standard deviation of every voxel, in the same unit. Voxels without an estimate hold 0.

Files whose desc label ends in Flag are bit fields: 0 where nothing speaks against the estimate, otherwise the
sum of the bits listed under FlagBits in the JSON file beside them. Files with the suffix residual hold the
root mean square difference of measured and fitted signal.

Maps for which BIDS has no suffix yet are named after their parameter and listed in .bidsignore.
"""


def write_plain(
    out_dir: Path,
    maps: ParameterMaps,
    estimation: Estimation,
    *,
    acquisition: Acquisition | None = None,
    sources: Sequence[Path | str] = (),
    names: AnyOf[str] | None = None,
    mask: Tensor | None = None,
) -> list[Path]:
    """Write maps to a plain folder: ``T1map.nii.gz``, ``T1map_sd.nii.gz``, ``flags.nii.gz``, …, with JSON.

    Args:
        out_dir: the folder; made if missing.
        maps: the estimate.
        estimation: how it was made.
        acquisition: what the scanner was told, for the sidecars.
        sources: files it was made from, for the sidecars.
        names: parameters to write; None writes all.
        mask: (*voxels) bool, written too if given.

    Returns:
        The files written.

    Raises:
        OutputError: the folder can't be written to.
    """
    written = []
    listed = [str(source) for source in sources]
    everything = products(maps, estimation, acquisition=acquisition, sources=listed, names=names, mask=mask)
    for product in everything:
        stem = f"{product.map}_{product.role}" if product.role else product.map
        written += _write(product, Path(out_dir) / stem, maps)
    return written


def write_derivatives(
    out_dir: Path,
    collection: Collection,
    maps: ParameterMaps,
    estimation: Estimation,
    *,
    names: AnyOf[str] | None = None,
    mask: Tensor | None = None,
) -> list[Path]:
    """Write maps into a BIDS derivative dataset, which is begun if there is none yet.

    The names are those of the scan without what varied, ``desc`` made of the scan's suffix and the
    estimation's label: ``sub-01/anat/sub-01_desc-VFAnlls_T1map.nii.gz``, standard deviations
    ``desc-VFAnllsSd_T1map``, flags ``desc-VFAnllsFlag_dseg``.

    Args:
        out_dir: root of the derivative dataset; made if missing.
        collection: the scan the maps were made from.
        maps: the estimate.
        estimation: how it was made.
        names: parameters to write; None writes all.
        mask: (*voxels) bool, written too if given.

    Returns:
        The images and sidecars written.

    Raises:
        OutputError: the folder can't be written to, or holds another dataset.
    """
    out_dir = Path(out_dir)
    begin_derivatives(out_dir, collection.root)
    folder = out_dir / collection.files[0].parent.relative_to(collection.root)
    written, foreign = [], set()
    everything = products(
        maps,
        estimation,
        acquisition=collection.acquisition,
        sources=[_uri(path, collection.root) for path in collection.used or collection.files],
        names=names,
        extra=collection.constants,
        mask=mask,
    )
    if collection.datatype == "fmap" and "B0" in maps:
        everything = chain(everything, [_magnitude(maps, estimation)])
    for product in everything:
        stem, suffix = _stem(collection, estimation, product)
        written += _write(product, folder / f"{stem}_{suffix}", maps)
        if suffix not in _LEGAL[collection.datatype]:
            foreign.add(f"**/fmap/*_{suffix}" if collection.datatype == "fmap" else f"*_{suffix}")
        elif suffix == "fieldmap" and product.role:  # BIDS wants a magnitude beside it, too
            foreign.add(f"*{_ROLES[product.role]}_{suffix}")
    _ignore(out_dir, foreign)
    return written


def begin_derivatives(out_dir: Path, raw: Path) -> None:
    """Begin a derivative dataset with its description, README and .bidsignore, unless it has been begun.

    Args:
        out_dir: its root.
        raw: root of the dataset that it derives from.

    Raises:
        OutputError: the folder can't be written to, or holds another dataset.
    """
    path = out_dir / "dataset_description.json"
    if path.exists():
        generators = read_json(path).get("GeneratedBy", [])
        if not any(isinstance(g, dict) and g.get("Name") == _GENERATOR for g in generators):
            raise OutputError(
                f"{path} describes a dataset that {_GENERATOR} did not make",
                "maps must not be mixed with other data.",
                f"Choose another folder, like {raw / 'derivatives' / _GENERATOR}.",
            )
        return
    link = Path(os.path.relpath(raw.resolve(), out_dir.resolve())).as_posix()
    description = {
        "Name": f"Quantitative maps of {Dataset(raw).name}",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": _GENERATOR, "Version": version(_GENERATOR)}],
        "SourceDatasets": [{"URL": link}],
        "DatasetLinks": {"raw": link},
    }
    write_text(out_dir / "README.md", _README)
    write_text(out_dir / ".bidsignore", "*.html\n/reports\n")
    write_json(path, description)


def _magnitude(maps: ParameterMaps, estimation: Estimation) -> Product:
    """The magnitude image that BIDS wants beside a field map."""
    sidecar = {
        "Description": "Magnitude of the first echo; 0 where there is no field map",
        "Units": "arbitrary",
        "SkullStripped": estimation.skull_stripped,
    }
    return Product("magnitude", "", maps["S1"].value, "magnitude", sidecar)


def _write(product: Product, stem: Path, maps: ParameterMaps) -> list[Path]:
    """Write an image and its sidecar; the sidecar last, so that one with a sidecar is complete."""
    image, sidecar = stem.with_name(f"{stem.name}.nii.gz"), stem.with_name(f"{stem.name}.json")
    product.write(image, maps.affine)
    write_json(sidecar, product.sidecar)
    return [image, sidecar]


def _stem(collection: Collection, estimation: Estimation, product: Product) -> tuple[str, str]:
    """File name of a product up to its suffix, and the suffix."""
    kept = _KEPT_ENTITIES[collection.datatype]
    pairs = [f"{key}-{collection.entities[key]}" for key in kept if key in collection.entities]
    # two scans must not get the same name, so what BIDS allows no entity for goes into the label
    others = "".join(f"{key}{value}" for key, value in collection.entities.items() if key not in kept)
    role = "Flag" if product.map == "flags" else _ROLES[product.role]
    label = f"{collection.suffix}{others}{estimation.label}{role}"
    suffix = "dseg" if product.map == "flags" else _camel(product.map)
    return "_".join([*pairs, f"desc-{label}"]), suffix


def _camel(name: str) -> str:
    """``inversion_factor`` as BIDS allows it in a suffix: ``inversionFactor``."""
    return re.sub(r"[^a-zA-Z0-9]+(.?)", lambda match: match[1].upper(), name)


def _uri(path: Path, root: Path) -> str:
    """BIDS URI of a file of the raw dataset; files from elsewhere by their path."""
    try:
        return f"bids:raw:{path.relative_to(root).as_posix()}"
    except ValueError:
        return str(path)


def _ignore(out_dir: Path, patterns: Iterable[str]) -> None:
    """Have validators pass over files with these beginnings of names."""
    path = out_dir / ".bidsignore"
    before = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    lines = sorted({*before, *(f"{pattern}.*" for pattern in patterns)})
    if lines != before:
        write_text(path, "\n".join(lines) + "\n")
