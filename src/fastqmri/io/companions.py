"""What lies elsewhere in a dataset and belongs to a scan: its B1+ map and its brain mask."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from fastqmri.core import FastqmriError
from fastqmri.io.nifti import read_grid
from fastqmri.io.sidecars import SidecarReader


def find_b1_map(
    images: Sequence[Path], reader: SidecarReader, subject_folder: Path
) -> tuple[Path | None, list[str]]:
    """The B1+ map of a scan: raw before derivative, one intended for the scan before one that is silent.

    Args:
        images: of the scan.
        reader: of the dataset.
        subject_folder: of the subject or session, relative to the dataset.

    Returns:
        The map or None, and a warning if the choice was not the only one.

    Raises:
        SidecarError: a map's sidecar that can't be read.
    """
    intended, silent = [], []
    for base in _bases(reader.root):
        own = reader if base == reader.root else SidecarReader(base)
        for path in _images(base / subject_folder / "fmap", "_TB1map"):
            targets = own.read(path).fields.get("IntendedFor")
            if targets is None:
                silent.append(path)
            elif any(_is_target(str(t), images, reader.root) for t in _as_list(targets)):
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


def _is_target(target: str, images: Sequence[Path], root: Path) -> bool:
    """Whether an ``IntendedFor`` entry, a BIDS URI or a path below the subject, names one of the images."""
    relative = target.split(":", 2)[2] if target.startswith("bids:") and target.count(":") >= 2 else target
    for image in images:
        from_root = image.relative_to(root).as_posix()
        if relative in (from_root, from_root.partition("/")[2]):
            return True
    return False


def _as_list(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]
