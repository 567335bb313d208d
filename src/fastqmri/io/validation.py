"""Whether a BIDS dataset can be mapped: every scan's problems, before anything is computed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fastqmri.core import FastqmriError, ShapeError
from fastqmri.io.bids import Collection, find_collections
from fastqmri.io.nifti import check_size, read_grid


@dataclass(frozen=True)
class Finding:
    """Something to know about a dataset.

    Attributes:
        level: an error keeps a scan from being mapped, a warning does not.
        path: relative to the dataset, of the scan's first file or of the broken one.
        message: for people; an error's code, reason and remedy included.
    """

    level: Literal["error", "warning"]
    path: str
    message: str


def validate(root: Path | str) -> list[Finding]:
    """Look for everything that would keep a scan of a BIDS dataset from being mapped.

    Sidecars are read in full, of images only the headers and the sizes.

    Args:
        root: of the dataset.

    Raises:
        FileError: not a BIDS dataset.
        SidecarError: a dataset description that is not JSON.
    """
    findings = []
    collections = find_collections(root)
    if not collections:
        findings.append(
            Finding(
                "error",
                ".",
                "no VFA, IRT1, MESE, MEGRE or dwi images; they are looked for under names like "
                "sub-01/anat/sub-01_flip-1_VFA.nii.gz.",
            )
        )
    for collection in collections:
        first = (
            _relative(collection, _all_files(collection)[0]) if _all_files(collection) else collection.name
        )
        findings += [Finding("warning", first, warning) for warning in collection.warnings]
        if collection.problem is not None:
            findings.append(Finding("error", first, str(collection.problem)))
        findings += _check_images(collection)
    return findings


def _check_images(collection: Collection) -> list[Finding]:
    """Broken files; and, if there are none, images that don't fit together."""
    findings = []
    for path in _all_files(collection):
        try:
            check_size(path)
        except FastqmriError as error:
            findings.append(Finding("error", _relative(collection, path), str(error)))
    if findings or collection.problem is not None:
        return findings
    try:
        _check_fit(collection)
    except FastqmriError as error:
        findings.append(Finding("error", _relative(collection, collection.files[0]), str(error)))
    return findings


def _check_fit(collection: Collection) -> None:
    first, volumes = read_grid(collection.files[0])
    for path in [*collection.files[1:], *collection.phase_files, *collection.imaginary_files]:
        first.require(read_grid(path)[0])
    assert collection.acquisition is not None
    expected = collection.acquisition.contrasts if len(collection.files) == 1 else 1
    if volumes != expected:
        name = collection.acquisition.varies.replace("_", " ")
        raise ShapeError(
            f"{volumes} volumes in {collection.files[0]}, {expected} expected",
            f"every volume needs its {name}.",
            "Check that the file and its sidecar belong together.",
        )


def _all_files(collection: Collection) -> list[Path]:
    extra = [] if collection.b1_map is None else [collection.b1_map]
    return [*collection.files, *collection.phase_files, *collection.imaginary_files, *extra]


def _relative(collection: Collection, path: Path) -> str:
    return path.relative_to(collection.root).as_posix()
