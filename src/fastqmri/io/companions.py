"""What lies elsewhere in a dataset and belongs to a scan: its B1+ map and its brain mask."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from fastqmri.core import FastqmriError
from fastqmri.io.nifti import read_grid
from fastqmri.io.sidecars import SidecarReader


def find_b1_map(
    images: Sequence[Path], reader: SidecarReader, subject_folder: Path, more: Sequence[Path] = ()
) -> tuple[Path | None, list[str]]:
    """The B1+ map of a scan: one intended for it, else one that names no image at all; raw ones first.

    Args:
        images: of the scan.
        reader: of the dataset.
        subject_folder: of the subject or session, relative to the dataset.
        more: further derivative datasets to look into.

    Returns:
        The map or None, and a warning if the choice was not the only one.

    Raises:
        SidecarError: a map's sidecar that can't be read.
    """
    intended, silent = [], []
    for base in dict.fromkeys([*_bases(reader.root), *more]):
        own = reader if base == reader.root else SidecarReader(base)
        for path in _images(base / subject_folder / "fmap", "_TB1map"):
            if "Sd_" in path.name:
                continue  # the standard deviation of one
            targets = _targets(own.read(path).fields.get("IntendedFor"), reader.root, subject_folder)
            if not targets:
                silent.append(path)
            elif not targets.isdisjoint(images):
                intended.append(path)
    candidates = intended or silent
    if not candidates:
        return None, []
    if len(candidates) == 1:
        return candidates[0], []
    names = ", ".join(str(path.relative_to(reader.root)) for path in candidates)
    return candidates[0], [
        f"{len(candidates)} B1+ maps fit ({names}); the first was taken. IntendedFor decides."
    ]


def find_mask(image: Path, root: Path, subject_folder: Path) -> tuple[Path | None, list[str]]:
    """The brain mask of a scan: a ``desc-brain_mask`` among the derivatives, on the scan's voxels.

    Returns:
        The mask or None, and a warning if there are masks but all lie on other voxels.
    """
    folder = subject_folder / image.parent.name
    candidates = [path for base in _bases(root)[1:] for path in _images(base / folder, "_desc-brain_mask")]
    if not candidates:
        return None, []
    try:
        grid, _ = read_grid(image)
    except FastqmriError:
        return None, []  # the image's own trouble is reported where it is loaded
    for path in candidates:
        try:
            if grid.matches(read_grid(path)[0]):
                return path, []
        except FastqmriError:
            continue
    names = ", ".join(str(path.relative_to(root)) for path in candidates)
    return None, [f"No brain mask was used: {names} lies on other voxels than {image.name}."]


def _bases(root: Path) -> list[Path]:
    """The dataset and its derivatives."""
    derivatives = root / "derivatives"
    inside = sorted(path for path in derivatives.iterdir() if path.is_dir()) if derivatives.is_dir() else []
    return [root, *inside]


def _images(folder: Path, ending: str) -> Iterator[Path]:
    for path in sorted(folder.glob(f"*{ending}.nii*")) if folder.is_dir() else []:
        if path.name.endswith((f"{ending}.nii", f"{ending}.nii.gz")):
            yield path


def _targets(intended_for: object, root: Path, subject_folder: Path) -> set[Path]:
    """Images of the dataset that ``IntendedFor`` names, by BIDS URI or by a path below the subject.

    Entries that name no image are passed over: maps are often meant for a result that does not exist yet.
    """
    entries = intended_for if isinstance(intended_for, list) else [intended_for]
    found = set()
    for entry in entries:
        relative = str(entry)
        if relative.startswith("bids:"):
            relative = relative.split(":", 2)[-1]
        for base in (root, root / subject_folder.parts[0]):
            if (base / relative).is_file():
                found.add(base / relative)
    return found
