"""Random ellipses with textured tissue: objects like heads or knees to train on and to compare methods with."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from fastqmri.core import PlausibilityError
from fastqmri.phantoms.fields import coordinates, shares, smooth_field, smooth_texture
from fastqmri.phantoms.phantom import Phantom, tissue_means

RANGES: Mapping[str, tuple[float, float]] = {
    "M0": (0.3, 1.0),
    "T1": (0.5, 2.5),
    "T2": (0.015, 0.1),
    "R2prime": (5.0, 30.0),
}
"""Of every ellipse's tissue: s, 1/s; our choice, after cartilage and muscle to brain at 3 T."""


def ellipses(
    voxels: tuple[int, ...] = (64, 64),
    *,
    generator: torch.Generator,
    texture: float = 0.05,
    supersampling: int = 1,
    count: tuple[int, int] = (8, 16),
    ranges: Mapping[str, tuple[float, float]] = RANGES,
    b1: tuple[float, float] = (0.8, 1.2),
    b0: tuple[float, float] = (-40.0, 40.0),
    field_of_view: float = 220.0,
) -> Phantom:
    """Draw a phantom: a large ellipse that holds smaller ones, each of one tissue.

    Tissues get their values evenly from ``ranges``; T2star follows from T2 and R2prime, 1/T2star = 1/T2 + R2prime. All
    are multiplied with smooth texture of their own. B1 and B0 [Hz] vary smoothly over the field of view.

    Args:
        voxels: matrix, two or three sides.
        generator: source of all randomness.
        texture: standard deviation of the texture, as a fraction of the value.
        supersampling: parts of a voxel along each axis; above 1, tissues share the voxels at their borders.
        count: least and most ellipses inside the large one.
        ranges: property -> lowest and highest value of a tissue; others than the usual ones may be added.
        b1: lowest and highest transmit field, fraction of nominal.
        b0: lowest and highest off-resonance in Hz.
        field_of_view: of the longest side, in mm; voxels are isotropic.

    Raises:
        PlausibilityError: other than two or three sides.
    """
    if len(voxels) not in (2, 3) or min(voxels) < 1:
        raise PlausibilityError(
            f"a matrix of {voxels}", "it has two or three sides.", "Give two or three sides."
        )

    def uniform(low: float, high: float, size: int) -> Tensor:
        return low + (high - low) * torch.rand(size, dtype=torch.float64, generator=generator)

    inner = int(torch.randint(count[0], count[1] + 1, (1,), generator=generator))
    drawn: dict[str, Any] = {
        "ranges": dict(ranges),
        "texture": texture,
        "B1": b1,
        "B0": b0,
        "ellipses": inner,
    }
    tissues, shapes = inner + 1, []
    position = coordinates(voxels, supersampling)
    fine = torch.zeros(position.shape[1:], dtype=torch.int64)
    outer = uniform(0.75, 0.92, len(voxels))
    body = _inside(position, torch.zeros(len(voxels), dtype=torch.float64), outer, 0.0)
    fine[body] = 1
    for tissue in range(2, tissues + 1):
        axes = uniform(0.08, 0.4, len(voxels))
        centre = uniform(-0.6, 0.6, len(voxels)) * outer
        angle = float(uniform(0, math.pi, 1))
        fine[body & _inside(position, centre, axes, angle)] = tissue
        shapes.append({"centre": centre.tolist(), "semi-axes": axes.tolist(), "angle": angle})
    values = {name: uniform(low, high, tissues) for name, (low, high) in ranges.items()}
    if "T2" in values and "R2prime" in values:
        values["T2star"] = 1 / (1 / values["T2"] + values.pop("R2prime"))
    drawn |= {"shapes": shapes, "body": outer.tolist(), "values": {n: v.tolist() for n, v in values.items()}}
    names = ("outside", "body", *(f"ellipse-{i}" for i in range(1, tissues)))
    fractions = shares(fine, tissues, (supersampling,) * len(voxels))
    mask = fractions.sum(0) >= 0.5
    fractions = fractions * mask
    length = max(max(voxels) / 24, 1.0)
    maps = {
        name: mean * smooth_texture(voxels, texture, length, generator=generator)
        for name, mean in tissue_means(fractions, values).items()
    }
    maps["B1"] = smooth_field(voxels, *b1, generator=generator)
    maps["B0"] = smooth_field(voxels, *b0, generator=generator)
    size = field_of_view / max(voxels)
    return Phantom(
        maps=maps,
        mask=mask,
        labels=torch.where(mask, fractions.argmax(0) + 1, 0).to(torch.int16),
        names=names,
        voxel_size=(size,) * len(voxels),
        affine=centred_affine(voxels, (size,) * 3),
        drawn=drawn,
        fractions=fractions if supersampling > 1 else None,
        values=values,
    )


def centred_affine(voxels: tuple[int, ...], size: tuple[float, ...]) -> Tensor:
    """(4, 4) voxel to world in mm, the world's origin at the middle voxel N//2; a lone slice lies at zero."""
    affine = torch.diag(torch.tensor((*size[:3], 1.0), dtype=torch.float64))
    for axis, side in enumerate(voxels):
        affine[axis, 3] = -size[axis] * (side // 2)
    return affine


def _inside(position: Tensor, centre: Tensor, axes: Tensor, angle: float) -> Tensor:
    """Points of an ellipse or ellipsoid turned in the plane of the first two axes."""
    away = position - centre.view(-1, *(1,) * (position.ndim - 1))
    first = math.cos(angle) * away[0] + math.sin(angle) * away[1]
    second = -math.sin(angle) * away[0] + math.cos(angle) * away[1]
    distance = (first / axes[0]) ** 2 + (second / axes[1]) ** 2
    if len(position) == 3:
        distance = distance + (away[2] / axes[2]) ** 2
    return distance < 1
