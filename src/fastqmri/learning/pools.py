"""Objects to train on: phantoms drawn once, kept in memory, and given out turned, mirrored and with fresh texture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import torch
from torch import Tensor

from fastqmri.core import PlausibilityError, Progress, ShapeError, UnknownNameError
from fastqmri.phantoms import (
    ELLIPSE_SEEDS,
    RANGES,
    SPLITS,
    Phantom,
    brain,
    ellipses,
    load_anatomy,
    smooth_textures,
    split_of,
)

FIELDS = ("B0", "B1")
"""Maps that belong to the scanner: no texture, no scaling."""


@final
@dataclass(frozen=True)
class PhantomBatch:
    """Some objects.

    Attributes:
        maps: property -> (batch, *voxels) float32, SI units as in `fastqmri.phantoms.Phantom`; zero outside the mask,
            but for fields.
        mask: (batch, *voxels) bool.
    """

    maps: Mapping[str, Tensor]
    mask: Tensor


@final
@dataclass(frozen=True)
class PhantomPool:
    """Phantoms of one part of the split.

    Attributes:
        split: part, of `fastqmri.phantoms.SPLITS`.
        names: of the maps.
        stored: (phantom, name, *voxels) float32, without texture; T2star is kept as R2prime = 1/T2star - 1/T2 [1/s]
            where T2 is there too, so that it never exceeds T2.
        mask: (phantom, *voxels) bool.
        subjects: of each phantom that has one, in order; ellipses follow.
        texture: standard deviation of the smooth texture within tissue, relative, fresh in every draw.
        variation: largest relative change of a property of a whole object, drawn evenly, fresh in every draw.

    Raises:
        PlausibilityError: a subject of another part.
        ShapeError: maps that do not belong together.
        UnknownNameError: no such part or subject.
    """

    split: str
    names: tuple[str, ...]
    stored: Tensor
    mask: Tensor
    subjects: tuple[str, ...] = ()
    texture: float = 0.05
    variation: float = 0.05

    def __post_init__(self) -> None:
        _known_split(self.split)
        _guard(self.split, self.subjects)
        if self.stored.shape != (len(self.mask), len(self.names), *self.voxels):
            raise ShapeError(
                f"maps of {tuple(self.stored.shape)} for {len(self.names)} names and masks of {tuple(self.mask.shape)}",
                "they are (phantom, name, *voxels) and (phantom, *voxels).",
                "Make the pool with PhantomPool.of.",
            )

    @classmethod
    def of(
        cls,
        split: str,
        voxels: tuple[int, ...],
        *,
        brains: int = 0,
        ellipses: int = 0,
        generator: torch.Generator,
        data: Path | str | None = None,
        subjects: tuple[str, ...] = (),
        names: tuple[str, ...] = (),
        ranges: Mapping[str, tuple[float, float]] = RANGES,
        heights: tuple[float, float] = (0.25, 0.85),
        fields_of_view: tuple[float, float] = (200.0, 250.0),
        field_strength: float = 3.0,
        lesions: int = 0,
        supersampling: int = 2,
        texture: float = 0.05,
        variation: float = 0.05,
        b1: tuple[float, float] = (0.8, 1.2),
        b0: tuple[float, float] = (-40.0, 40.0),
        progress: Progress | None = None,
    ) -> PhantomPool:
        """Draw brains of the subjects of a part, in turn, and ellipses of its seeds (`ELLIPSE_SEEDS`).

        Ellipses of the training part take seeds that the generator draws; those of the others the first of their part,
        so that every pool of "tuning" has the same ones.

        Args:
            split: ``training``, ``tuning`` or ``held-out``.
            voxels: matrix, two or three sides; two give axial slices of brains.
            brains: number of them; 0 needs no data.
            ellipses: number of ellipse phantoms.
            generator: source of all randomness.
            data: folder of `load_anatomy`, for brains.
            subjects: take only these of the part.
            names: maps to keep; all that every phantom has if empty.
            ranges: of the tissues of ellipses.
            heights: of slices, from a brain's lowest voxel (0) to its highest (1).
            fields_of_view: of the longest side, mm, of brains.
            field_strength: 1.5 or 3 T.
            lesions: most lesions in a brain, drawn from 0.
            supersampling: parts of a voxel along each axis; above 1, tissues share the voxels at their borders.
            texture: see the class.
            variation: see the class.
            b1: lowest and highest transmit field, fraction of nominal.
            b0: lowest and highest off-resonance in Hz, at 3 T for brains.
            progress: called with (phantoms drawn, phantoms in all).

        Raises:
            PlausibilityError: a subject of another part, no phantom at all, or more ellipses than the part has seeds.
            UnknownNameError: no such part or subject, or a map that not every phantom has.
            FileError: the data of a subject is missing.
        """
        _known_split(split)
        _guard(split, subjects)
        count = brains + ellipses
        if min(brains, ellipses) < 0 or count < 1 or len(ELLIPSE_SEEDS[split]) < ellipses:
            raise PlausibilityError(
                f"{brains} brains and {ellipses} ellipses of the {split} part",
                f"a pool holds at least one phantom, and this part has {len(ELLIPSE_SEEDS[split])} of ellipses.",
                "Ask for another number.",
            )
        phantoms: list[Phantom] = []
        chosen = subjects or SPLITS[split]
        owners: list[str] = []
        for turn, subject in enumerate(chosen[:brains]):
            anatomy = load_anatomy(subject, data)
            for _ in range(turn, brains, len(chosen)):
                height, size = (
                    low + (high - low) * float(torch.rand(1, dtype=torch.float64, generator=generator))
                    for low, high in (heights, fields_of_view)
                )
                number = int(torch.randint(lesions + 1, (1,), generator=generator))
                phantoms.append(
                    brain(
                        anatomy,
                        generator=generator,
                        voxels=voxels,
                        field_of_view=size,
                        height=height if len(voxels) == 2 else None,
                        field_strength=field_strength,
                        texture=0.0,
                        supersampling=supersampling,
                        lesions=number,
                        b1=b1,
                        b0=b0,
                    )
                )
                owners.append(subject)
                if progress is not None:
                    progress(len(phantoms), count)
        for seed in _seeds(split, ellipses, generator):
            source = torch.Generator().manual_seed(seed)
            phantoms.append(
                _ellipses(
                    voxels,
                    generator=source,
                    texture=0.0,
                    supersampling=supersampling,
                    ranges=ranges,
                    b1=b1,
                    b0=b0,
                )
            )
            if progress is not None:
                progress(len(phantoms), count)
        shared = tuple(n for n in phantoms[0].maps if all(n in p.maps for p in phantoms))
        for name in names:
            if name not in shared:
                raise UnknownNameError(
                    f"map {name!r}", "not every phantom of this pool has it.", f"Use {', '.join(shared)}."
                )
        kept = names or shared
        stored = torch.stack([torch.stack([_stored(p, n, kept) for n in kept]).float() for p in phantoms])
        mask = torch.stack([p.mask for p in phantoms])
        return cls(split, kept, stored, mask, tuple(owners), texture, variation)

    def joined(self, ellipses: PhantomPool) -> PhantomPool:
        """This pool and ellipses of the same part, maps and matrix; texture and variation are this pool's.

        Raises:
            ShapeError: a pool of other maps, another matrix or another part, or with brains.
        """
        alike = (self.split, self.names, self.voxels) == (ellipses.split, ellipses.names, ellipses.voxels)
        if not alike or ellipses.subjects:
            raise ShapeError(
                f"{ellipses.split} phantoms of {ellipses.voxels} joined to {self.split} ones of {self.voxels}",
                "pools go together if part, maps and matrix are the same, and brains come first.",
                "Make both with the same arguments.",
            )
        return replace(
            self,
            stored=torch.cat([self.stored, ellipses.stored]),
            mask=torch.cat([self.mask, ellipses.mask]),
        )

    @property
    def voxels(self) -> tuple[int, ...]:
        """Matrix of the phantoms."""
        return tuple(self.mask.shape[1:])

    def __len__(self) -> int:
        return len(self.mask)

    def draw(self, count: int, generator: torch.Generator) -> PhantomBatch:
        """Objects with replacement, each turned by right angles in the plane of the first two axes and mirrored.

        Properties of a whole object change by up to ``variation``, and tissue gets smooth texture, three standard
        deviations at most, its length drawn between 1/32 and 1/24 of the longest side; T2star changes by way of T2
        and R2prime.
        """
        place = torch.randint(len(self), (count,), generator=generator).tolist()
        turns = torch.randint(8, (count,), generator=generator).tolist()
        flips = torch.randint(2, (count, len(self.voxels)), generator=generator).tolist()
        value = torch.stack(
            [self._turned(self.stored[i], t, f) for i, t, f in zip(place, turns, flips, strict=True)]
        )
        mask = torch.stack(
            [self._turned(self.mask[i], t, f) for i, t, f in zip(place, turns, flips, strict=True)]
        )
        tissue = [i for i, name in enumerate(self.names) if name not in FIELDS]
        ones = (1,) * len(self.voxels)
        length = (1 + torch.rand(1, generator=generator).item() / 3) * max(self.voxels) / 32
        factor = 1 + self.variation * (2 * torch.rand((count, len(tissue), *ones), generator=generator) - 1)
        if self.texture:
            fresh = smooth_textures(
                count * len(tissue),
                self.voxels,
                self.texture,
                max(length, 1.0),
                generator=generator,
                dtype=torch.float32,
            )
            factor = factor * fresh.view(count, len(tissue), *self.voxels)
        maps = dict(zip(self.names, value.unbind(1), strict=True))
        maps |= {self.names[i]: maps[self.names[i]] * factor[:, k] for k, i in enumerate(tissue)}
        if "T2star" in maps and "T2" in maps:
            rate = 1 / maps["T2"].clamp_min(1e-9) + maps["T2star"]
            maps["T2star"] = mask / rate
        return PhantomBatch(maps, mask)

    def _turned(self, x: Tensor, turn: int, flips: list[int]) -> Tensor:
        """Maps (..., *voxels) of one object, turned and mirrored."""
        dimensions = len(self.voxels)
        if turn % 2 and self.voxels[0] == self.voxels[1]:
            x = x.transpose(-dimensions, 1 - dimensions)
        return x.flip([a - dimensions for a, flip in enumerate(flips) if flip])


_ellipses = ellipses  # the constructor's argument of the same name hides it


def _stored(phantom: Phantom, name: str, kept: tuple[str, ...]) -> Tensor:
    """One map as a pool keeps it."""
    value = phantom.maps[name]
    if name != "T2star" or "T2" not in kept:
        return value
    return torch.where(phantom.mask, 1 / value - 1 / phantom.maps["T2"], 0.0)


def _seeds(split: str, count: int, generator: torch.Generator) -> list[int]:
    """Seeds of ellipses: drawn for training, the first of the part elsewhere."""
    seeds = ELLIPSE_SEEDS[split]
    if split != "training":
        return list(seeds[:count])
    return torch.randint(seeds.start, seeds.stop, (count,), generator=generator).tolist()


def _known_split(split: str) -> None:
    if split not in SPLITS:
        raise UnknownNameError(
            f"part {split!r} of the split", "there is none.", f"Use one of {', '.join(SPLITS)}."
        )


def _guard(split: str, subjects: tuple[str, ...]) -> None:
    """Refuse subjects of another part."""
    for subject in subjects:
        part = split_of(subject)
        if part != split:
            raise PlausibilityError(
                f"{subject} in a pool of the {split} part",
                f"this subject belongs to {part}: what is learned from it could not be judged by it.",
                f"Use {', '.join(SPLITS[split])}.",
            )
