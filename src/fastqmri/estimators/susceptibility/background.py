"""The local field: what is left of the total field without that of sources outside the object.

All fields are in ppm (or Hz: every method is linear), volumes (x, y, z); voxels outside the mask are ignored.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, final

import torch
from torch import Tensor

from fastqmri.core import DataError, Progress, UnknownNameError
from fastqmri.estimators.susceptibility.filters import Box, sphere_kernel
from fastqmri.estimators.susceptibility.unwrapping import edges_inside
from fastqmri.physics.encoding.dipole import dipole_kernel
from fastqmri.solvers.conjugate_gradient import conjugate_gradient

_WHOLE = 1 - 1e-3
"""Share of a sphere that must lie inside the mask; below one by the rounding of the transform."""


@dataclass(frozen=True)
class BackgroundFree:
    """A field without background.

    Attributes:
        field: (x, y, z), unit of the total field; zero outside ``mask``.
        mask: (x, y, z) bool, the voxels that the method keeps.
    """

    field: Tensor
    mask: Tensor


class BackgroundRemoval(Protocol):
    """A way from the total field to the local one."""

    @property
    def loses(self) -> str:
        """Which voxels of the mask have no local field, in words."""
        ...

    @property
    def references(self) -> tuple[str, ...]:
        """Bibliography keys."""
        ...

    def remove(
        self,
        field: Tensor,
        mask: Tensor,
        *,
        voxel_size: Sequence[float],
        b0_direction: Sequence[float] = (0.0, 0.0, 1.0),
        weight: Tensor | None = None,
        progress: Progress | None = None,
    ) -> BackgroundFree:
        """Take the background off.

        Args:
            field: (x, y, z) total field.
            mask: (x, y, z) bool, voxels where it is known.
            voxel_size: edge lengths in mm.
            b0_direction: unit vector along the voxel axes.
            weight: (x, y, z) inverse standard deviation of the field in any unit, or None.
            progress: called with (iteration, iterations).

        Raises:
            DataError: no voxel is left.
        """
        ...


@final
@dataclass(frozen=True)
class ProjectionOntoDipoleFields:
    """PDF: the background is the field of dipoles outside the mask that fits best inside.

    Source: Liu 2011.

    Attributes:
        iterations: of conjugate gradients, at most; few, since they are the only regularisation.
        tolerance: of the residual, relative.
        padding: factor by which the volume is enlarged: dipoles may lie there, and no field wraps around.
    """

    iterations: int = 60
    tolerance: float = 1e-3
    padding: float = 1.5
    references: ClassVar[tuple[str, ...]] = ("liu2011",)
    loses: ClassVar[str] = "none, but the outermost voxels are the least certain"

    def remove(
        self,
        field: Tensor,
        mask: Tensor,
        *,
        voxel_size: Sequence[float],
        b0_direction: Sequence[float] = (0.0, 0.0, 1.0),
        weight: Tensor | None = None,
        progress: Progress | None = None,
    ) -> BackgroundFree:
        """As `BackgroundRemoval.remove`."""
        box = Box(field.shape, [math.ceil((self.padding - 1) / 2 * side) for side in field.shape])
        kernel = dipole_kernel(box.shape, voxel_size, b0_direction, dtype=field.dtype).to(field.device)
        inside = box.pad(mask)
        strength = mask.to(field.dtype)
        if weight is not None:
            strength = strength * weight / weight[mask].mean().clamp_min(1e-30)
        power = box.pad(strength**2)

        def project(sources: Tensor) -> Tensor:
            return box.filter(torch.where(inside, 0, sources), kernel)

        def back(image: Tensor) -> Tensor:
            return torch.where(inside, 0, box.filter(power * image, kernel))

        sources = conjugate_gradient(
            lambda x: back(project(x)),
            back(box.pad(torch.where(mask, field, 0))),
            iterations=self.iterations,
            tolerance=self.tolerance,
            progress=progress,
        )
        local = field - box.crop(project(sources))
        return BackgroundFree(torch.where(mask, local, 0), mask)


@final
@dataclass(frozen=True)
class LaplacianBoundaryValues:
    """LBV: the background is harmonic inside the mask and equals the total field at its surface.

    Solved by conjugate gradients, coarse grids first.

    Source: Zhou 2014.

    Attributes:
        iterations: on each grid, at most.
        tolerance: of the residual, relative.
    """

    iterations: int = 500
    tolerance: float = 1e-4
    references: ClassVar[tuple[str, ...]] = ("zhou2014",)
    loses: ClassVar[str] = "the outermost layer of voxels, where the local field is taken for zero"

    def remove(
        self,
        field: Tensor,
        mask: Tensor,
        *,
        voxel_size: Sequence[float],
        b0_direction: Sequence[float] = (0.0, 0.0, 1.0),
        weight: Tensor | None = None,
        progress: Progress | None = None,
    ) -> BackgroundFree:
        """As `BackgroundRemoval.remove`; neither direction nor weights are of any influence."""
        interior = _without_surface(mask)
        _require_some(interior, self.loses)
        weights = [1 / edge**2 for edge in voxel_size]
        source = torch.where(interior, _laplacian(torch.where(mask, field, 0), weights), 0)
        local = self._solve(source, interior, list(voxel_size), progress)
        return BackgroundFree(torch.where(interior, local, 0), interior)

    def _solve(
        self, source: Tensor, interior: Tensor, edges: list[float], progress: Progress | None
    ) -> Tensor:
        """x that is zero outside ``interior`` and has the Laplacian ``source`` inside."""
        start = None
        if min(source.shape) >= 16:
            coarse_interior = _pooled(interior.to(source.dtype)) > 0.5
            coarse = self._solve(
                torch.where(coarse_interior, _pooled(source), 0),
                coarse_interior,
                [2 * e for e in edges],
                None,
            )
            fine = torch.nn.functional.interpolate(
                coarse[None, None], size=source.shape, mode="trilinear", align_corners=False
            )[0, 0]
            start = torch.where(interior, fine, 0)
        weights = [1 / edge**2 for edge in edges]
        return conjugate_gradient(
            lambda x: -torch.where(interior, _laplacian(x, weights), 0),
            -source,
            start=start,
            iterations=self.iterations,
            tolerance=self.tolerance,
            progress=progress,
        )


@final
@dataclass(frozen=True)
class VaryingSphericalMeans:
    """V-SHARP: a harmonic field equals its mean over any sphere; the largest sphere that fits is taken.

    With a single radius it is SHARP.

    Source: Schweser 2011; Wu 2012.

    Attributes:
        radii: of the spheres in mm, in any order; those that hold no neighbour of a voxel are left out.
        threshold: spectral values of the largest sphere's filter below this are not inverted.
    """

    radii: tuple[float, ...] = (18.0, 16.0, 14.0, 12.0, 10.0, 8.0, 6.0, 4.0, 2.0)
    threshold: float = 0.05
    references: ClassVar[tuple[str, ...]] = ("schweser2011", "wu2012")

    @property
    def loses(self) -> str:
        """Which voxels of the mask have no local field, in words."""
        return f"those within {min(self.radii):g} mm of the surface"

    def remove(
        self,
        field: Tensor,
        mask: Tensor,
        *,
        voxel_size: Sequence[float],
        b0_direction: Sequence[float] = (0.0, 0.0, 1.0),
        weight: Tensor | None = None,
        progress: Progress | None = None,
    ) -> BackgroundFree:
        """As `BackgroundRemoval.remove`; neither direction nor weights are of any influence."""
        radii = sorted({radius for radius in self.radii if radius >= min(voxel_size)}, reverse=True)
        box = Box(field.shape, [math.ceil(max(self.radii) / edge) for edge in voxel_size])
        total, inside = box.pad(torch.where(mask, field, 0)), box.pad(mask.to(field.dtype))
        kept = torch.zeros(box.shape, dtype=torch.bool, device=field.device)
        filtered = torch.zeros_like(total)
        spectrum: Tensor | None = None
        for number, radius in enumerate(radii):
            sphere = sphere_kernel(box.shape, voxel_size, radius, like=field)
            fits = box.filter(inside, sphere) > _WHOLE
            fresh = fits & ~kept
            if bool(fresh.any()):
                spectrum = 1 - sphere if spectrum is None else spectrum
                filtered = torch.where(fresh, total - box.filter(total, sphere), filtered)
                kept |= fresh
            if progress:
                progress(number + 1, len(radii))
        _require_some(kept, self.loses)
        assert spectrum is not None
        inverse = torch.where(spectrum.abs() > self.threshold, 1 / spectrum, 0)
        local = box.crop(torch.where(kept, box.filter(filtered, inverse), 0))
        return BackgroundFree(local, box.crop(kept))


@final
@dataclass(frozen=True)
class RegularizedSphericalMeans:
    """RESHARP: spherical means as SHARP, inverted with a Tikhonov penalty on the local field.

    Source: Sun 2014.

    Attributes:
        radius: of the sphere in mm.
        penalty: on the square of the local field.
        iterations: of conjugate gradients, at most.
        tolerance: of the residual, relative.
    """

    radius: float = 6.0
    penalty: float = 1e-4
    iterations: int = 60
    tolerance: float = 1e-4
    references: ClassVar[tuple[str, ...]] = ("sun2014",)

    @property
    def loses(self) -> str:
        """Which voxels of the mask have no local field, in words."""
        return f"those within {self.radius:g} mm of the surface"

    def remove(
        self,
        field: Tensor,
        mask: Tensor,
        *,
        voxel_size: Sequence[float],
        b0_direction: Sequence[float] = (0.0, 0.0, 1.0),
        weight: Tensor | None = None,
        progress: Progress | None = None,
    ) -> BackgroundFree:
        """As `BackgroundRemoval.remove`; neither direction nor weights are of any influence."""
        box = Box(field.shape, [math.ceil(self.radius / edge) for edge in voxel_size])
        sphere = sphere_kernel(box.shape, voxel_size, self.radius, like=field)
        kept = box.filter(box.pad(mask.to(field.dtype)), sphere) > _WHOLE
        _require_some(kept, self.loses)
        spectrum = 1 - sphere  # real and even: its own adjoint
        right = torch.where(kept, box.filter(box.pad(torch.where(mask, field, 0)), spectrum), 0)
        local = conjugate_gradient(
            lambda x: box.filter(torch.where(kept, box.filter(x, spectrum), 0), spectrum) + self.penalty * x,
            box.filter(right, spectrum),
            iterations=self.iterations,
            tolerance=self.tolerance,
            progress=progress,
        )
        inner = box.crop(kept)
        return BackgroundFree(torch.where(inner, box.crop(local), 0), inner)


@final
@dataclass(frozen=True)
class NoRemoval:
    """The total field is taken for the local one, its mean over the mask taken off."""

    references: ClassVar[tuple[str, ...]] = ()
    loses: ClassVar[str] = "none"

    def remove(
        self,
        field: Tensor,
        mask: Tensor,
        *,
        voxel_size: Sequence[float],
        b0_direction: Sequence[float] = (0.0, 0.0, 1.0),
        weight: Tensor | None = None,
        progress: Progress | None = None,
    ) -> BackgroundFree:
        """As `BackgroundRemoval.remove`."""
        return BackgroundFree(torch.where(mask, field - field[mask].mean(), 0), mask)


BACKGROUND_REMOVALS: Mapping[str, Callable[[], BackgroundRemoval]] = {
    "v-sharp": VaryingSphericalMeans,
    "resharp": RegularizedSphericalMeans,
    "pdf": ProjectionOntoDipoleFields,
    "lbv": LaplacianBoundaryValues,
    "sharp": lambda: VaryingSphericalMeans((6.0,)),
    "none": NoRemoval,
}
"""Name -> a way to remove the background, with its usual settings."""


def background_removal(name: str) -> BackgroundRemoval:
    """A way to remove the background by name, with its usual settings.

    Raises:
        UnknownNameError: no such way.
    """
    if name not in BACKGROUND_REMOVALS:
        raise UnknownNameError(
            f"background removal {name!r}",
            "it doesn't exist here.",
            f"Use one of {', '.join(BACKGROUND_REMOVALS)}.",
        )
    return BACKGROUND_REMOVALS[name]()


def _laplacian(x: Tensor, weights: Sequence[float]) -> Tensor:
    """Second differences of a volume, zeros around it."""
    out = -2 * sum(weights) * x
    for axis, weight in enumerate(weights):
        size = x.shape[axis]
        out.narrow(axis, 0, size - 1).add_(x.narrow(axis, 1, size - 1), alpha=weight)
        out.narrow(axis, 1, size - 1).add_(x.narrow(axis, 0, size - 1), alpha=weight)
    return out


def _without_surface(mask: Tensor) -> Tensor:
    """Voxels of a mask whose six neighbours belong to it; the faces of the volume count as outside."""
    interior = mask.clone()
    for axis, edges in enumerate(edges_inside(mask)):
        interior &= edges & torch.roll(edges, 1, axis)
    return interior


def _pooled(x: Tensor) -> Tensor:
    """Means over 2 × 2 × 2 voxels."""
    return torch.nn.functional.avg_pool3d(x[None, None], 2, ceil_mode=True)[0, 0]


def _require_some(kept: Tensor, loses: str) -> None:
    if not bool(kept.any()):
        raise DataError(
            "a mask of which no voxel is left after background removal",
            f"the method loses {loses}.",
            "Choose another method, smaller spheres or a larger mask.",
        )
