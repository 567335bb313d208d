"""Bundles of fibres whose susceptibility depends on their direction, and the two parts of their field."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fastqmri.phantoms.phantom import Phantom
from fastqmri.physics.encoding import COMPONENTS, Dipole, SusceptibilityTensor, unit_direction

TENSOR_MAPS = tuple(f"chi{a + 1}{b + 1}" for a, b in COMPONENTS)
"""Names of a phantom's maps that hold a susceptibility tensor, in the order of its components."""


@dataclass(frozen=True)
class PartsOfField:
    """The field of a susceptibility tensor, split as a single orientation sees it: field = D chi33 + rest.

    Attributes:
        field: (*voxels) in ppm of B0, without noise.
        chi33: (*voxels) in ppm, the component along B0.
        rest: (*voxels) in ppm of B0, the field of the components between B0 and the axes across it.
    """

    field: Tensor
    chi33: Tensor
    rest: Tensor


def parts_of_field(
    phantom: Phantom,
    direction: Sequence[float] = (0.0, 0.0, 1.0),
    *,
    voxel_size: Sequence[float] | None = None,
    padding: float = 2.0,
) -> PartsOfField:
    """Field of what lies in the mask of a phantom, with what of it is not a field of dipoles along B0.

    Source: Liu 2010; Feng 2021, eq. 14.

    Args:
        phantom: with ``chi`` or `TENSOR_MAPS` in ppm.
        direction: of B0 along the voxel axes.
        voxel_size: mm along each axis; None takes the phantom's.
        padding: see `Dipole`.
    """
    b = torch.tensor(unit_direction(direction), dtype=torch.float64)
    size = phantom.voxel_size if voxel_size is None else voxel_size
    dipole = Dipole(phantom.voxels, size, b.tolist(), padding=padding, dtype=torch.float64)
    if TENSOR_MAPS[0] not in phantom.maps:
        chi33 = phantom.maps["chi"] * phantom.mask
        field = dipole(chi33)
        return PartsOfField(field, chi33, torch.zeros_like(field))
    tensor = torch.stack([phantom.maps[name] * phantom.mask for name in TENSOR_MAPS])
    twice = torch.tensor([b[a] * b[c] * (1 if a == c else 2) for a, c in COMPONENTS], dtype=torch.float64)
    chi33 = torch.einsum("c,c...->...", twice, tensor)
    field = SusceptibilityTensor(phantom.voxels, size, b.tolist(), padding=padding, dtype=torch.float64)(
        tensor
    )
    return PartsOfField(field, chi33, field - dipole(chi33))


def fibre_tensor(
    chi: Tensor, where: Tensor, position: Tensor, bundles: int, generator: torch.Generator
) -> dict[str, Tensor]:
    """Six maps: isotropic, but for bundles of fibres with χ I + Δχ (n nᵀ - I/3).

    Drawn are the places and sizes of the bundles, Δχ of 0.01 to 0.03 ppm, and n, which changes slowly.

    Args:
        chi: (x, y, z) in ppm, a third of the trace.
        where: (x, y, z) bool, where fibres may be.
        position: (3, x, y, z), the edges of the field of view at -1 and 1.
        bundles: how many.
        generator: source of all randomness.
    """
    maps = {name: chi * (a == b) for name, (a, b) in zip(TENSOR_MAPS, COMPONENTS, strict=True)}
    for _ in range(bundles):
        centre = torch.rand(3, dtype=torch.float64, generator=generator) - 0.5
        axes = 0.2 + 0.25 * torch.rand(3, dtype=torch.float64, generator=generator)
        inside = where & ellipsoid(position, centre, axes, rotation(generator))
        difference = 0.01 + 0.02 * float(torch.rand(1, generator=generator))
        main = torch.randn(3, 1, 1, 1, dtype=torch.float64, generator=generator)
        bend = torch.randn(3, 3, dtype=torch.float64, generator=generator)
        fibre = main + torch.einsum("ab,b...->a...", bend, position)
        fibre = fibre / fibre.norm(dim=0).clamp_min(1e-9)
        for name, (a, b) in zip(TENSOR_MAPS, COMPONENTS, strict=True):
            part = chi * (a == b) + difference * (fibre[a] * fibre[b] - (a == b) / 3)
            maps[name] = torch.where(inside, part, maps[name])
    return maps


def rotation(generator: torch.Generator) -> Tensor:
    """A random rotation, (3, 3)."""
    return torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=generator))[0]


def ellipsoid(position: Tensor, centre: Tensor, axes: Tensor, turn: Tensor) -> Tensor:
    """Voxels inside an ellipsoid, (*voxels) bool.

    Args:
        position: (3, *voxels).
        centre: (3,).
        axes: half lengths, (3,).
        turn: (3, 3), into the ellipsoid's own axes.
    """
    away = torch.einsum("ab,b...->a...", turn, position - centre.view(3, 1, 1, 1))
    return (away / axes.view(3, 1, 1, 1)).square().sum(0) < 1
