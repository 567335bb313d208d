"""BIDS datasets: which scans they hold that parameters can be estimated from."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from fastqmri.core import Acquisition, FastqmriError, FileError, Measurement, ShapeError
from fastqmri.io.companions import find_b1_map, find_mask
from fastqmri.io.names import INDICES, parse_name
from fastqmri.io.nifti import Grid, read_images, read_mask
from fastqmri.io.phase import phase_in_radians
from fastqmri.io.plain import load_b1, require_count
from fastqmri.io.protocols import read_protocol
from fastqmri.io.sidecars import Record, SidecarReader, read_json

VARIES: dict[str, tuple[str, ...]] = {
    "VFA": ("flip",),
    "IRT1": ("inv",),
    "MESE": ("echo",),
    "MEGRE": ("echo",),
    "MTR": ("mt",),
    "MTS": ("flip", "mt", "echo"),
    "MPM": ("flip", "mt", "echo"),
    "dwi": (),
    "TB1DAM": ("flip",),
    "TB1AFI": (),
    "phasediff": (),
}
"""Suffix of a scan -> the entities that tell its images apart; none where they are one 4D file."""
_FOLDERS = {
    "anat": ("VFA", "IRT1", "MESE", "MEGRE", "MTR", "MTS", "MPM"),
    "dwi": ("dwi",),
    "fmap": ("TB1DAM", "TB1AFI", "phasediff", "phase1", "phase2", "magnitude1", "magnitude2"),
}
_WEIGHTING = re.compile("PDw|T1w|MTw")
_VARYING_LABELS = {"TB1AFI": re.compile("tr[0-9]+"), "MTS": _WEIGHTING, "MPM": _WEIGHTING}
"""Suffix of a scan -> beginning of the ``acq`` label that tells its images apart."""
_PHASES, _MAGNITUDES = ("phasediff", "phase1", "phase2"), ("magnitude1", "magnitude2")
"""Suffixes of the images of one field map; the scan goes by the first."""
_TAKES_B1 = ("VFA", "MTS", "MPM")
_ENDINGS = (".nii", ".nii.gz")

_Key = tuple[tuple[str, str | int], ...]
_Place = tuple[tuple[str, int, str], ...]


@dataclass
class Collection:
    """The images of one scan, and what is known of it.

    Attributes:
        root: of the dataset.
        subject: label.
        session: label, or None.
        suffix: BIDS suffix ("VFA").
        datatype: folder ("anat").
        entities: those that all images share.
        files: magnitude (or real) images in the order of their index, or one 4D file; the phase images of a field
            map without magnitudes.
        acquisition: what the scanner was told; None if there is a problem.
        phase_files: phase images in the same order; empty if there are none.
        imaginary_files: imaginary images, where ``files`` are the real ones.
        provenance: where every number came from.
        warnings: what was assumed; `load` adds what it had to assume.
        constants: sidecar fields that all images share.
        b1_map: B1+ map for a scan that takes one, or None.
        mask: brain mask on the same voxels, or None.
        problem: why the scan can't be used, or None.
        used: every image that `load` read.
    """

    root: Path
    subject: str
    session: str | None
    suffix: str
    datatype: str
    entities: Mapping[str, str | int]
    files: list[Path] = field(default_factory=list)
    acquisition: Acquisition | None = None
    phase_files: list[Path] = field(default_factory=list)
    imaginary_files: list[Path] = field(default_factory=list)
    provenance: list[Record] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    constants: dict[str, Any] = field(default_factory=dict)
    b1_map: Path | None = None
    mask: Path | None = None
    problem: FastqmriError | None = None
    used: list[Path] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Short name for people and logs ("sub-01_ses-1_run-2_VFA")."""
        return "_".join([*(f"{key}-{value}" for key, value in self.entities.items()), self.suffix])

    @property
    def has_complex(self) -> bool:
        """Whether complex images can be put together."""
        return bool(self.phase_files or self.imaginary_files)

    def load(self, *, complex: bool = False, mask: Path | None = None) -> Measurement:
        """Read the images, the B1+ map and the mask.

        Args:
            complex: put magnitude and phase (or real and imaginary parts) together.
            mask: file to use instead of the mask found.

        Raises:
            FastqmriError: the collection's problem, if it has one.
            FileError: an image that can't be read; or complex images asked for and not there.
            ShapeError: images, mask and map that don't belong together, or not one image a contrast.
            PlausibilityError: a phase or B1+ map of unknown scale.
            DataError: an empty mask, or images without a finite value.
        """
        if self.problem is not None or self.acquisition is None:
            raise self.problem or FileError(
                f"{self.name} without an acquisition",
                "it can't be evaluated.",
                "Find it with find_collections.",
            )
        data, grid = read_images(self.files)
        self.used = [*self.files]
        if self.suffix == _PHASES[0]:
            data = self._phases(data, grid)
        else:
            require_count(data, self.acquisition, self.files)
            if complex or self.imaginary_files:
                data = self._complex(data, grid)
            if data.is_complex() and not complex:
                data = data.abs()
        path = mask or self.mask
        inside = None if path is None else read_mask(path, grid)
        known, notes = ({}, []) if self.b1_map is None else load_b1(self.b1_map, grid, inside)
        self.used += [extra for extra in (self.b1_map, path) if extra is not None]
        self._warn(notes)
        return Measurement(data, self.acquisition, inside, known, affine=grid.affine)

    def _complex(self, data: torch.Tensor, grid: Grid) -> torch.Tensor:
        if data.is_complex():
            return data
        if self.imaginary_files:
            return torch.complex(data, self._further(self.imaginary_files, data, grid))
        if not self.phase_files:
            raise FileError(
                f"{self.name} has neither phase nor imaginary images",
                "complex images can't be put together.",
                "Use a model for magnitudes, or add the part-phase images.",
            )
        units = SidecarReader(self.root).read(self.phase_files[0]).text("Units")
        phase, note = phase_in_radians(
            self._further(self.phase_files, data, grid), self.phase_files[0].name, units=units
        )
        self._warn([note] if note else [])
        return torch.polar(data, phase)

    def _phases(self, data: torch.Tensor, grid: Grid) -> torch.Tensor:
        """Complex echoes of a field map: of a phase difference the first has no phase."""
        alone = self.files == self.phase_files
        raw = data if alone else self._further(self.phase_files, None, grid)
        units = SidecarReader(self.root).read(self.phase_files[0]).text("Units")
        phase, note = phase_in_radians(raw, self.phase_files[0].name, units=units)
        self._warn([note] if note else [])
        magnitude = torch.ones_like(phase) if alone else data
        if alone:
            self._warn(["There are no magnitudes: all voxels count alike, and no background is masked out."])
        if len(phase) == 1:
            phase = torch.cat([torch.zeros_like(phase), phase])
        if len(magnitude) == 1:
            magnitude = magnitude.expand_as(phase)
        return torch.polar(magnitude, phase)

    def _further(self, files: list[Path], data: torch.Tensor | None, grid: Grid) -> torch.Tensor:
        """Further parts of the same images."""
        self.used += files
        part, part_grid = read_images(files)
        grid.require(part_grid)
        if data is not None and part.shape != data.shape:
            raise ShapeError(
                f"{part.shape[0]} volumes with {files[0].name}, {data.shape[0]} with {self.files[0].name}",
                "every image needs both parts.",
                "Add the missing images.",
            )
        return part

    def _warn(self, notes: Iterable[str]) -> None:
        self.warnings += [note for note in notes if note not in self.warnings]


class Dataset:
    """A BIDS dataset on disk.

    Args:
        root: folder of ``dataset_description.json``.

    Raises:
        FileError: no folder, or not a BIDS dataset.
        SidecarError: a description that is not JSON.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        if not self.root.is_dir():
            raise FileError(f"{self.root} is not a folder", "a BIDS dataset is one.", "Check the spelling.")
        description = self.root / "dataset_description.json"
        if not description.is_file():
            raise FileError(
                f"{self.root} holds no dataset_description.json",
                "every BIDS dataset has one at its root, beside folders like sub-01/anat with files like "
                "sub-01_flip-1_VFA.nii.gz and sub-01_flip-1_VFA.json.",
                'Name the root of the dataset, or write {"Name": "…", "BIDSVersion": "1.10.0"} there. '
                "For images outside BIDS, use the fit command.",
            )
        self.description = read_json(description)
        self.reader = SidecarReader(self.root)

    @property
    def name(self) -> str:
        """Its name, as the description states it."""
        return str(self.description.get("Name", self.root.resolve().name))

    @property
    def participants(self) -> list[str]:
        """Labels of the subjects that have a folder."""
        return sorted(path.name.removeprefix("sub-") for path in self.root.glob("sub-*") if path.is_dir())

    def collections(self, participants: Iterable[str] | None = None) -> list[Collection]:
        """All scans of the families known here, those with a problem included.

        Args:
            participants: labels, with or without ``sub-``; None takes all.

        Raises:
            FileError: a participant that the dataset does not have.
        """
        known = self.participants
        wanted = known if participants is None else [label.removeprefix("sub-") for label in participants]
        for label in wanted:
            if label not in known:
                raise FileError(
                    f"participant {label!r}",
                    f"{self.root} has no folder sub-{label}.",
                    f"It has {', '.join(known) or 'no subject at all'}.",
                )
        return [collection for label in wanted for collection in self._of_subject(label)]

    def _of_subject(self, label: str) -> Iterator[Collection]:
        subject = self.root / f"sub-{label}"
        sessions = sorted(path for path in subject.glob("ses-*") if path.is_dir())
        for folder in [subject, *sessions]:
            session = folder.name.removeprefix("ses-") if folder is not subject else None
            for datatype, suffixes in _FOLDERS.items():
                for (suffix, shared), files in sorted(_group(folder / datatype, suffixes).items(), key=str):
                    if suffix == _PHASES[0] and not any(_suffix(path) in _PHASES for path in files):
                        continue  # magnitudes of a map that the scanner made
                    scan = Collection(self.root, label, session, suffix, datatype, dict(shared), files)
                    yield self._collect(scan)

    def _collect(self, collection: Collection) -> Collection:
        """Fill a collection from its files; what goes wrong becomes its problem."""
        try:
            if collection.suffix == _PHASES[0]:
                _sort_field_map(collection)
            else:
                _sort_files(collection)
            described = collection.phase_files if collection.suffix == _PHASES[0] else collection.files
            protocol = read_protocol(collection.suffix, described, self.reader)
            collection.acquisition = protocol.acquisition
            collection.provenance = protocol.records
            collection.constants = protocol.constants
            collection.warnings += protocol.warnings
            self._find_companions(collection)
        except FastqmriError as problem:
            collection.acquisition, collection.problem = None, problem
        return collection

    def _find_companions(self, collection: Collection) -> None:
        folder = collection.files[0].parent.parent.relative_to(self.root)
        if collection.suffix in _TAKES_B1:
            collection.b1_map, notes = find_b1_map(collection.files, self.reader, folder)
            collection.warnings += notes
        collection.mask, notes = find_mask(collection.files[0], self.root, folder)
        collection.warnings += notes


def take_b1_map(collection: Collection, derivatives: Path) -> list[str]:
    """Give a scan without a B1+ map the one that was made before, if there is one; what was done, for people.

    Args:
        collection: of a family that takes such a map; others are left alone.
        derivatives: root of a derivative dataset that holds computed maps.
    """
    if collection.suffix not in _TAKES_B1 or collection.b1_map is not None:
        return []
    folder = collection.files[0].parent.parent.relative_to(collection.root)
    reader = SidecarReader(collection.root)
    collection.b1_map, notes = find_b1_map(collection.files, reader, folder, (derivatives,))
    collection.warnings += notes
    return [] if collection.b1_map is None else [f"B1+ map: {collection.b1_map.name}", *notes]


def find_collections(root: Path | str, participants: Iterable[str] | None = None) -> list[Collection]:
    """All scans of a BIDS dataset that parameters can be estimated from, and those that have a problem.

    Args:
        root: of the dataset.
        participants: labels, with or without ``sub-``; None takes all.

    Raises:
        FileError: not a BIDS dataset, or a participant it does not have.
        SidecarError: a dataset description that is not JSON.
    """
    return Dataset(root).collections(participants)


def _group(folder: Path, suffixes: tuple[str, ...]) -> dict[tuple[str, _Key], list[Path]]:
    """Images of a folder by suffix and by the entities that the images of one scan share."""
    groups: dict[tuple[str, _Key], list[Path]] = defaultdict(list)
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        name = parse_name(path)
        if name is None or name.suffix not in suffixes or name.extension not in _ENDINGS:
            continue
        suffix = _PHASES[0] if name.suffix in (*_PHASES, *_MAGNITUDES) else name.suffix
        groups[suffix, _shared(name.entities, suffix)].append(path)
    return groups


def _suffix(path: Path) -> str:
    name = parse_name(path)
    return "" if name is None else name.suffix


def _shared(entities: Mapping[str, str | int], suffix: str) -> _Key:
    """The entities that all images of a scan have in common."""
    shared = {}
    for key, value in entities.items():
        if key in (*VARIES[suffix], "part"):
            continue
        if key == "acq" and suffix in _VARYING_LABELS:
            value = _without_prefix(str(value), _VARYING_LABELS[suffix])
            if not value:
                continue
        shared[key] = value
    return tuple(shared.items())


def _without_prefix(label: str, prefix: re.Pattern[str]) -> str:
    match = prefix.match(label)
    return label if match is None else label[match.end() :]


def _place(path: Path, suffix: str) -> _Place:
    """What tells an image from the others of its scan, in an order that can be sorted."""
    name = parse_name(path)
    assert name is not None
    place = []
    for key in VARIES[suffix]:
        value = name.entities.get(key, "")
        place.append((key, value, "") if isinstance(value, int) else (key, 0, value))
    label = str(name.entities.get("acq", ""))
    if suffix in _VARYING_LABELS and (match := _VARYING_LABELS[suffix].match(label)):
        place.append(("acq", 0, match[0]))
    return tuple(place)


def _sort_files(collection: Collection) -> None:
    """Put files into their parts, each in the order of the index.

    Raises:
        FileError: files that exclude each other, or no magnitude and no real image.
    """
    parts: dict[str, dict[_Place, Path]] = defaultdict(dict)
    for path in collection.files:
        name = parse_name(path)
        assert name is not None
        index = _place(path, collection.suffix)
        part = parts[str(name.entities.get("part", "mag"))]
        if index in part:
            raise FileError(
                f"{part[index].name} and {path.name} in {path.parent}",
                "both claim to be the same image.",
                "Remove one of them.",
            )
        part[index] = path
    chosen = "mag" if "mag" in parts else "real"
    if chosen not in parts:
        raise FileError(
            f"{collection.name} has only part-{', part-'.join(sorted(parts))}",
            "at least the magnitude (or the real part) is needed.",
            "Convert the magnitude images too.",
        )
    collection.files = _in_order(parts[chosen])
    partner = "phase" if chosen == "mag" else "imag"
    if partner in parts:
        if parts[partner].keys() == parts[chosen].keys():
            found = _in_order(parts[partner])
            collection.phase_files, collection.imaginary_files = (
                (found, []) if chosen == "mag" else ([], found)
            )
        else:
            collection.warnings.append(
                f"{len(parts[partner])} part-{partner} images for {len(parts[chosen])} others: not used."
            )
    _warn_of_gaps(collection, parts[chosen])


def _sort_field_map(collection: Collection) -> None:
    """Put the images of a field map into phases and magnitudes.

    Raises:
        FileError: files that exclude each other, or one phase image of two.
    """
    by_suffix: dict[str, Path] = {}
    for path in collection.files:
        suffix = _suffix(path)
        if suffix in by_suffix:
            raise FileError(
                f"{by_suffix[suffix].name} and {path.name} in {path.parent}",
                "both claim to be the same image.",
                "Remove one of them.",
            )
        by_suffix[suffix] = path
    difference, *echoes = (by_suffix.get(suffix) for suffix in _PHASES)
    found = [path for path in echoes if path is not None]
    if difference is None and len(found) == 1:
        raise FileError(
            f"{found[0].name} alone in {found[0].parent}",
            "the phase of one echo says nothing of the field; two are needed.",
            "Add the other phase image, or the phase difference.",
        )
    collection.phase_files = found if difference is None else [difference]
    if difference is not None and found:
        collection.warnings.append(f"{found[0].name} was not used: there is {difference.name}.")
    magnitudes = [by_suffix[suffix] for suffix in _MAGNITUDES if suffix in by_suffix]
    collection.files = magnitudes or collection.phase_files


def _in_order(part: Mapping[_Place, Path]) -> list[Path]:
    return [part[index] for index in sorted(part)]


def _warn_of_gaps(collection: Collection, part: Mapping[_Place, Path]) -> None:
    """Warn of numbers that are missing in between: of echoes weighting by weighting, of others in all images."""
    seen: dict[tuple[str, _Place], set[int]] = defaultdict(set)
    for place in part:
        for entry in place:
            key, index, _ = entry
            if key in INDICES and index:
                others = tuple(e for e in place if e != entry) if key == "echo" else ()
                seen[key, others].add(index)
    missing = [
        f"{key}-{index}"
        for (key, _), found in seen.items()
        for index in sorted(set(range(min(found), max(found) + 1)) - found)
    ]
    if missing:
        collection.warnings.append(
            f"{collection.name} has no {', '.join(dict.fromkeys(missing))}; the others were taken."
        )
