"""Digital brains from label maps."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from fastqmri.core import PlausibilityError
from fastqmri.core.units import GYROMAGNETIC_RATIO
from fastqmri.phantoms.anatomy import WHITE, Anatomy
from fastqmri.phantoms.fields import shares, smooth_field, smooth_texture
from fastqmri.phantoms.phantom import Phantom, tissue_means
from fastqmri.phantoms.splits import split_of
from fastqmri.phantoms.tissues import LESION, tissue_properties

_AIR = 9.4
"""Susceptibility of air in tissue, ppm."""


def brain(
    anatomy: Anatomy,
    *,
    generator: torch.Generator,
    voxels: tuple[int, ...] = (96, 96),
    field_of_view: float = 230.0,
    thickness: float = 3.0,
    height: float | None = None,
    field_strength: float = 3.0,
    variation: float = 0.05,
    texture: float = 0.05,
    supersampling: int | None = None,
    lesions: int = 0,
    b1: tuple[float, float] = (0.8, 1.2),
    b0: tuple[float, float] = (-20.0, 20.0),
    sinus: float = 12.0,
) -> Phantom:
    """Give the tissues of an anatomy their values and put the brain, or a slice of it, on a matrix.

    Drawn are: how much every tissue of this scan differs from the literature (``variation``), the texture within
    tissues, the height of the slice, the lesions, B1 and B0. The shape is the subject's own.

    Args:
        anatomy: tissues, of `load_anatomy`.
        generator: source of all randomness.
        voxels: matrix; two sides give an axial slice.
        field_of_view: of the longest side, mm; voxels are isotropic, but for the thickness of a slice.
        thickness: of a slice, mm.
        height: of a slice, from the brain's lowest voxel (0) to its highest (1); drawn from 0.45 to 0.7 if None.
        field_strength: 1.5 or 3 T.
        variation: largest relative difference of a tissue's properties from the literature, drawn evenly.
        texture: standard deviation of smooth texture within tissues, relative.
        supersampling: parts of a voxel along each axis, of which each has one tissue; None splits voxels down to the
            anatomy's.
        lesions: number of lesions (radius 2 to 6 mm) in the white matter.
        b1: lowest and highest transmit field over the field of view, fraction of nominal.
        b0: lowest and highest of the smooth part of the off-resonance, Hz at 3 T.
        sinus: radius of a ball of air under the frontal brain whose dipole field adds to B0, mm; 0 for none.

    Raises:
        PlausibilityError: a matrix without two or three sides, or a field strength that the tissues are not known for.
    """
    if len(voxels) not in (2, 3) or min(voxels) < 1:
        raise PlausibilityError(
            f"a matrix of {voxels}", "it has two or three sides.", "Give two or three sides."
        )
    drawn: dict[str, Any] = {
        "subject": anatomy.subject,
        "split": split_of(anatomy.subject),
        "field_strength": field_strength,
        "variation": variation,
        "texture": texture,
        "B1": b1,
        "B0": b0,
    }
    names, labels = anatomy.names, anatomy.labels
    if lesions:
        names, labels, drawn["lesions"] = _with_lesions(anatomy, lesions, generator)
    values = _tissue_values(names, field_strength, variation, generator)
    drawn["values"] = {name: value.tolist() for name, value in values.items()}
    flat = len(voxels) == 2
    if flat and height is None:
        height = 0.45 + 0.25 * float(torch.rand(1, dtype=torch.float64, generator=generator))
    drawn["height"] = height if flat else None
    grid = (*voxels, 1) if flat else voxels
    side = field_of_view / max(voxels)
    size = (side, side, thickness if flat else side)
    centre = _centre(anatomy, height if flat else None)
    parts = tuple(
        supersampling or max(1, math.ceil(edge / own - 1e-6))
        for edge, own in zip(size, anatomy.voxel_size, strict=True)
    )
    fractions = shares(_sampled(labels, anatomy, centre, grid, size, parts), len(names) - 1, parts)
    affine = torch.diag(torch.tensor((*size, 1.0), dtype=torch.float64))
    affine[:3, 3] = centre - torch.tensor([s * (n // 2) for s, n in zip(size, grid, strict=True)])
    off_resonance = _sinus_field(anatomy, grid, affine, sinus, field_strength)
    if flat:
        fractions, off_resonance = fractions[..., 0], off_resonance[..., 0]
    mask = fractions.sum(0) >= 0.5
    fractions = fractions * mask
    length = max(max(voxels) / 32, 1.0)
    maps = {
        name: mean * smooth_texture(voxels, texture, length, generator=generator)
        for name, mean in tissue_means(fractions, values).items()
    }
    maps["B1"] = smooth_field(voxels, *b1, generator=generator)
    smooth = smooth_field(voxels, *b0, generator=generator) * field_strength / 3
    maps["B0"] = smooth + off_resonance
    return Phantom(
        maps=maps,
        mask=mask,
        labels=torch.where(mask, fractions.argmax(0) + 1, 0).to(torch.int16),
        names=names,
        voxel_size=size[: len(voxels)],
        affine=affine,
        drawn=drawn,
        fractions=None if parts == (1, 1, 1) else fractions,
        values=values,
    )


def _tissue_values(
    names: tuple[str, ...], field_strength: float, variation: float, generator: torch.Generator
) -> dict[str, Tensor]:
    """Property -> (tissue,), those of the literature but for what is drawn."""
    table = [tissue_properties(name, field_strength) for name in names[1:]]
    values = {}
    for name in table[0]:
        nominal = torch.tensor([row[name] for row in table], dtype=torch.float64)
        spread = 2 * torch.rand(len(table), dtype=torch.float64, generator=generator) - 1
        values[name] = nominal * (1 + variation * spread)
    return values


def _with_lesions(
    anatomy: Anatomy, count: int, generator: torch.Generator
) -> tuple[tuple[str, ...], Tensor, list[dict[str, Any]]]:
    """Names and labels with balls of lesion in the white matter, and where they are."""
    names, labels = (*anatomy.names, LESION), anatomy.labels.clone()
    white = anatomy.labels == anatomy.names.index(WHITE)
    places = torch.nonzero(white)
    size = torch.tensor(anatomy.voxel_size, dtype=torch.float64)
    drawn = []
    for _ in range(count):
        place = places[int(torch.randint(len(places), (1,), generator=generator))]
        radius = 2 + 4 * float(torch.rand(1, dtype=torch.float64, generator=generator))
        near = (((places - place) * size) ** 2).sum(1) <= radius**2
        labels[tuple(places[near].T)] = len(names) - 1
        world = anatomy.affine[:3, :3] @ place.double() + anatomy.affine[:3, 3]
        drawn.append({"centre": world.tolist(), "radius": radius})
    return names, labels, drawn


def _centre(anatomy: Anatomy, height: float | None) -> Tensor:
    """World position (3,) in mm of the middle of the brain, or of a slice of it."""
    inside = anatomy.labels > 0
    ends = []
    for axis in range(3):
        others = [a for a in range(3) if a != axis]
        filled = torch.nonzero(inside.any(others[1]).any(others[0]))
        ends.append((float(filled[0]), float(filled[-1])))
    index = torch.tensor([(low + high) / 2 for low, high in ends], dtype=torch.float64)
    if height is not None:
        low, high = ends[2]
        index[2] = low + height * (high - low)
    return anatomy.affine[:3, :3] @ index + anatomy.affine[:3, 3]


def _sampled(
    labels: Tensor,
    anatomy: Anatomy,
    centre: Tensor,
    grid: tuple[int, ...],
    size: tuple[float, ...],
    parts: tuple[int, ...],
) -> Tensor:
    """Labels at the middle of every part of every voxel, outside beyond the anatomy."""
    middle = torch.linalg.inv(anatomy.affine)[:3] @ torch.cat([centre, torch.ones(1, dtype=torch.float64)])
    for axis in range(3):
        step = size[axis] / parts[axis] / anatomy.voxel_size[axis]
        part = torch.arange(grid[axis] * parts[axis], dtype=torch.float64)
        away = (part - grid[axis] // 2 * parts[axis] - (parts[axis] - 1) / 2) * step
        index = (middle[axis] + away + 1e-6).round().long()
        beyond = (index < 0) | (index >= labels.shape[axis])
        labels = labels.index_select(axis, index.clamp(0, labels.shape[axis] - 1))
        labels = labels.masked_fill(beyond.view(-1, *(1,) * (2 - axis)), 0)
    return labels


def _sinus_field(
    anatomy: Anatomy, grid: tuple[int, ...], affine: Tensor, radius: float, field_strength: float
) -> Tensor:
    """(x, y, z) Hz: Δχ/3 γ B0 (a/r)³ (3 cos²θ - 1) of a ball of air 8 mm under the frontal brain."""
    if radius <= 0:
        return torch.zeros(grid, dtype=torch.float64)
    inside = anatomy.labels > 0
    side = inside.shape[0] // 2
    rows = torch.nonzero(inside[side].any(1))[:, 0]
    front = int(rows[0] + 0.82 * (rows[-1] - rows[0]))
    lowest = float(torch.nonzero(inside[side, front])[0])
    touch = torch.tensor([side, front, lowest, 1.0], dtype=torch.float64)
    ball = (anatomy.affine @ touch)[:3] - torch.tensor([0.0, 0.0, radius + 8.0], dtype=torch.float64)
    axes = [
        torch.arange(n, dtype=torch.float64) * affine[a, a] + affine[a, 3] - ball[a]
        for a, n in enumerate(grid)
    ]
    x, y, z = torch.meshgrid(*axes, indexing="ij")
    squared = (x**2 + y**2 + z**2).clamp_min(radius**2)
    strength = _AIR * 1e-6 / 3 * GYROMAGNETIC_RATIO * field_strength
    return strength * radius**3 * squared**-1.5 * (3 * z**2 / squared - 1)
