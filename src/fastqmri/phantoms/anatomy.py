"""Label maps of brains, and what is missing in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import max_pool3d

from fastqmri.core import FileError
from fastqmri.io import read_image, read_mni152_tissues
from fastqmri.phantoms.splits import split_of

GREY, WHITE, CSF, VESSELS = "grey matter", "white matter", "cerebrospinal fluid", "vessels"
_NUCLEI = {
    "Putamen": "putamen",
    "Caudate": "caudate",
    "Nucleus Accumbens": "caudate",
    "Globus Pallidus externa": "globus pallidus",
    "Globus Pallidus interna": "globus pallidus",
    "Red Nucleus": "red nucleus",
    "Substantia Nigra pars compacta": "substantia nigra",
    "Substantia-Nigra-pars-reticulata": "substantia nigra",
}
_CLOSING = 4
_RIM = 2


@dataclass(frozen=True)
class Anatomy:
    """Tissues of one subject.

    Attributes:
        subject: name, one of `SUBJECTS`.
        labels: (x, y, z) uint8, axes towards right (if known), front and top; 0 is outside.
        names: of the labels, ``names[0]`` is what lies outside.
        affine: (4, 4) voxel to world in mm.
        references: bibliography keys.
    """

    subject: str
    labels: Tensor
    names: tuple[str, ...]
    affine: Tensor
    references: tuple[str, ...]

    @property
    def voxel_size(self) -> tuple[float, float, float]:
        """Edge lengths in mm."""
        x, y, z = self.affine[:3, :3].norm(dim=0).tolist()
        return x, y, z


def load_anatomy(subject: str, data: Path | str | None = None) -> Anatomy:
    """The anatomy of a subject of `SPLITS`.

    ``brainweb-04``, ``-05``, ``-06`` are individuals of BrainWeb at 1 mm (vessels, grey and white matter; which side is
    the left is not recorded). That source has no cerebrospinal fluid: it is put where the brain's hull holds no tissue
    (ventricles, sulci) and into a rim of 2 mm, which is plausible and not anatomy; vessels apart from the brain are
    left out. ``mni152`` is the average template that nilearn ships, smoother than any person, each voxel the likelier
    of its tissues, with deep grey nuclei of CIT168 (made for another revision of the template, so they may lie a
    little off) if ``data`` has them. No skull, no scalp.

    Source: Aubert-Broche 2006; Fonov 2011; Pauli 2018.

    Args:
        subject: name.
        data: folder that holds ``brainweb_3d_tissue_s4_s5_s6`` and ``template_cit168_subcortical_labels``, or None.

    Raises:
        UnknownNameError: no such subject.
        FileError: its file is not in the folder, or nilearn is not installed.
    """
    split_of(subject)
    folder = None if data is None else Path(data)
    if subject == "mni152":
        return _template(folder)
    name = f"brainweb_3d_tissue_s4_s5_s6/brainweb_subj{subject[-2:]}_tissue_1mm.nii.gz"
    if folder is None:
        raise FileError(
            f"{subject} without a folder",
            f"its labels are read from {name}.",
            "Give the folder that holds it.",
        )
    # stored front to back, side to side, top to bottom
    stored = read_image(folder / name).data.to(torch.uint8)
    labels = torch.nn.functional.pad(stored.permute(1, 0, 2).flip(1, 2), (4,) * 6)
    hull = _hull(labels > 0)
    labels = torch.where((labels == 0) & hull, 4, labels.long() * hull).to(torch.uint8)
    affine = torch.eye(4, dtype=torch.float64)
    affine[:3, 3] = -torch.tensor([side // 2 for side in labels.shape], dtype=torch.float64)
    names = ("outside", VESSELS, GREY, WHITE, CSF)
    return Anatomy(subject, labels, names, affine, ("aubertbroche2006",))


def _template(folder: Path | None) -> Anatomy:
    grey, white, brain, affine = read_mni152_tissues()
    fluid = 1 - grey - white
    labels = torch.stack([grey, white, fluid]).argmax(0) + 1
    labels = torch.where(brain, labels, 0).to(torch.uint8)
    names, references = ["outside", GREY, WHITE, CSF], ["fonov2011"]
    if folder is not None and (folder / "template_cit168_subcortical_labels").is_dir():
        names += sorted(set(_NUCLEI.values()))
        references.append("pauli2018")
        labels = _with_nuclei(labels, affine, folder / "template_cit168_subcortical_labels", names)
    return Anatomy("mni152", labels, tuple(names), affine, tuple(references))


def _with_nuclei(labels: Tensor, affine: Tensor, folder: Path, names: list[str]) -> Tensor:
    import json

    atlas = read_image(folder / "CIT168_label.nii.gz")
    found = json.loads((folder / "CIT168_labels.json").read_text(encoding="utf-8"))
    listed: Mapping[int, str] = dict(enumerate(found["labels"]))
    offset = (torch.linalg.inv(affine) @ atlas.affine)[:3, 3].round().long().tolist()
    target = labels[tuple(slice(o, o + n) for o, n in zip(offset, atlas.data.shape, strict=True))]
    for number, text in listed.items():
        name = _NUCLEI.get(text[2:].strip())
        if name is not None:
            target[(atlas.data == number) & (target > 0)] = names.index(name)
    return labels


def _hull(tissue: Tensor) -> Tensor:
    """Tissue closed over 4 mm, all that it surrounds in the six directions of the axes, and a rim of 2 mm."""
    closed = ~grown(~grown(tissue, _CLOSING), _CLOSING)
    surrounded = torch.ones_like(closed)
    for axis in range(3):
        for turn in (False, True):
            ray = closed.flip(axis) if turn else closed
            seen = ray.to(torch.uint8).cummax(axis).values.bool()
            surrounded &= seen.flip(axis) if turn else seen
    return _largest_part(grown(closed | surrounded, _RIM))


def _largest_part(mask: Tensor) -> Tensor:
    """What hangs together with the bulk by faces of voxels: without vessels of the neck."""
    # first among whole blocks of 2 voxels a side, which reach far in few steps
    coarse = ~(max_pool3d(~mask[None, None] * 1.0, 2, ceil_mode=True)[0, 0] > 0.5)
    part = _flooded(~grown(~coarse, 10), coarse)
    for axis in range(3):
        part = part.repeat_interleave(2, axis)
    return _flooded(part[tuple(slice(side) for side in mask.shape)] & mask, mask)


def _flooded(seed: Tensor, mask: Tensor) -> Tensor:
    """All of a mask that the seed reaches by faces."""
    before = 0
    while int(seed.sum()) != before:
        before = int(seed.sum())
        seed = grown(seed, 1) & mask
    return seed


def grown(mask: Tensor, steps: int) -> Tensor:
    """A mask grown by voxels, alternately by faces and by corners, so that it stays round."""
    for step in range(steps):
        source, mask = mask, mask.clone()
        for axis in range(3):
            if step % 2:
                source = mask.clone()
            mask.narrow(axis, 1, mask.shape[axis] - 1).logical_or_(
                source.narrow(axis, 0, mask.shape[axis] - 1)
            )
            mask.narrow(axis, 0, mask.shape[axis] - 1).logical_or_(
                source.narrow(axis, 1, mask.shape[axis] - 1)
            )
    return mask
