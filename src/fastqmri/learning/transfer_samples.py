"""Samples of quantitative magnetisation transfer: voxels and slices of brains with two pools, and lone voxels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from fastqmri.phantoms import SPLITS, load_anatomy
from fastqmri.phantoms.tissues import LESION
from fastqmri.phantoms.two_pools import DEEP, ODD, TISSUES, two_pool_brain
from fastqmri.physics.signal import SignalModel

MAPS = ("F", "kf", "T2r", "R1", "T2f", "B1", "B0")
"""What a sample holds beside its signals."""
Fields = Mapping[str, tuple[float, float]]
"""``B1`` and ``B0`` -> range."""
NO_FIELDS: Fields = {"B1": (1.0, 1.0), "B0": (0.0, 0.0)}


@dataclass(frozen=True)
class TransferSlices:
    """Slices of brains and their noiseless images.

    Attributes:
        images: (slice, contrast, x, y).
        maps: (slice, map, x, y) in the order of `MAPS`.
        mask: (slice, x, y) bool.
        lesions: (slice, x, y) bool.
    """

    images: Tensor
    maps: Tensor
    mask: Tensor
    lesions: Tensor

    def voxels(self) -> tuple[Tensor, Tensor]:
        """Images (contrast, voxel) and maps (map, voxel) of all voxels inside."""
        return self.images.movedim(1, 0)[:, self.mask], self.maps.movedim(1, 0)[:, self.mask]


def transfer_slices(
    model: SignalModel,
    split: str,
    count: int,
    *,
    generator: torch.Generator,
    data: Path | None,
    odd: Sequence[float] = (0.0, 0.5),
    lesions: int = 2,
    fields: Fields = NO_FIELDS,
) -> TransferSlices:
    """Draw slices of the subjects of a split in turn.

    Args:
        model: what makes images of them.
        split: of `SPLITS`.
        count: slices.
        generator: of all chance.
        data: folder of the subjects.
        odd: of `two_pool_brain`, in turn.
        lesions: in every second slice.
        fields: transmit field and off-resonance.
    """
    anatomies = [load_anatomy(name, data) for name in SPLITS[split]]
    images, maps, masks, hurt = [], [], [], []
    for number in range(count):
        phantom = two_pool_brain(
            anatomies[number % len(anatomies)],
            generator=generator,
            odd=odd[number // len(anatomies) % len(odd)],
            lesions=lesions * (number // 4 % 2),
            b1=fields["B1"],
            b0=fields["B0"],
        )
        images.append(phantom.signal(model).float())
        held = {**phantom.maps, "T2f": 1 / phantom.maps["R2f"].clamp_min(1e-6)}
        maps.append(torch.stack([held[name] * phantom.mask for name in MAPS]).float())
        masks.append(phantom.mask)
        label = phantom.names.index(LESION) if LESION in phantom.names else -1
        hurt.append(phantom.labels == label)
    return TransferSlices(torch.stack(images), torch.stack(maps), torch.stack(masks), torch.stack(hurt))


def lone_voxels(
    model: SignalModel,
    count: int,
    *,
    generator: torch.Generator,
    odd: float = 0.3,
    fields: Fields = NO_FIELDS,
) -> tuple[Tensor, Tensor]:
    """Noiseless images (contrast, voxel) and maps (map, voxel) of voxels without neighbours.

    Args:
        model: what makes images of them.
        count: voxels.
        generator: of all chance.
        odd: share drawn from `ODD`, the rest evenly from the tissues.
        fields: transmit field and off-resonance.
    """
    tables = [*TISSUES.values(), DEEP, ODD]
    ends = torch.tensor([[_ends(table, name) for name in ("F", "k", "T1", "T2f", "T2r")] for table in tables])
    tissue = torch.randint(len(tables) - 1, (count,), generator=generator)
    tissue[torch.rand(count, generator=generator) < odd] = len(tables) - 1
    share = torch.rand(count, 5, generator=generator)
    f, k, t1, t2f, t2r = torch.lerp(ends[tissue, :, 0], ends[tissue, :, 1], share).double().unbind(1)
    by_rate = torch.tensor(["kr" in table for table in tables])[tissue]
    kr = torch.where(by_rate, k, k / f)
    b1, b0 = (
        fields[name][0]
        + (fields[name][1] - fields[name][0]) * torch.rand(count, generator=generator).double()
        for name in ("B1", "B0")
    )
    held = {
        "M0": torch.ones_like(f),
        "F": f,
        "kr": kr,
        "T2f": t2f,
        "T2r": t2r,
        "R1": 1 / t1,
        "B1": b1,
        "B0": b0,
    }
    signal = model.forward(torch.stack([held[p.name] for p in model.parameters]))
    held["kf"] = kr * f
    return signal.float(), torch.stack([held[name] for name in MAPS]).float()


def _ends(table: Mapping[str, tuple[float, float]], name: str) -> tuple[float, float]:
    if name != "k":
        return table[name]
    return table["kr"] if "kr" in table else table["kf"]
