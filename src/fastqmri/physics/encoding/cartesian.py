"""Cartesian acquisitions: coils, Fourier transform and sampling as one operator."""

from __future__ import annotations

import torch
from torch import Tensor

from fastqmri.core import ShapeError
from fastqmri.physics.encoding.coils import Sensitivities
from fastqmri.physics.encoding.fourier import Fourier
from fastqmri.physics.encoding.operator import LinearOperator


class Sampling(LinearOperator):
    """Keeps the samples that were measured and sets the others to zero.

    Args:
        mask: (contrast or 1, 1, *k-space), bool; axes of length 1 count for all.
    """

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask.bool())

    mask: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """``x`` (..., contrast, coil, *k-space), zero where nothing was measured."""
        return x * self.mask

    def adjoint(self, y: Tensor) -> Tensor:
        """The same."""
        return self(y)

    @property
    def H(self) -> LinearOperator:
        """Itself."""
        return self

    @property
    def gram(self) -> LinearOperator:
        """Itself: a projection."""
        return self


class CartesianEncoding(LinearOperator):
    """E of a Cartesian scan: y = M F C ρ, (..., contrast, *voxels) -> (..., contrast, coil, *voxels).

    Its Gram operator leaves out the Fourier transform along axes that are sampled alike everywhere, in which it is
    undone, and all centring.

    Source: Pruessmann 2001, with the centred orthonormal transform of `Fourier`.

    Args:
        sensitivities: (coil, *voxels) complex, or (contrast, coil, *voxels).
        mask: (contrast or 1, *voxels) bool, which samples were measured; axes of length 1 count for all.

    Raises:
        ShapeError: a mask of another matrix than the sensitivities.
    """

    def __init__(self, sensitivities: Tensor, mask: Tensor) -> None:
        super().__init__()
        dimensions = mask.ndim - 1
        voxels = tuple(sensitivities.shape[-dimensions:])
        if any(side not in (1, own) for side, own in zip(mask.shape[1:], voxels, strict=True)):
            raise ShapeError(
                f"a sampling mask of {tuple(mask.shape[1:])} for coil sensitivities of {voxels}",
                "both must be of one matrix.",
                "Give coil maps of the k-space's own matrix.",
            )
        self.coils = Sensitivities(sensitivities, dimensions)
        self.fourier = Fourier(dimensions)
        self.sampling = Sampling(mask[:, None])
        self.domain = voxels
        self.range = (int(sensitivities.shape[-dimensions - 1]), *voxels)

    @property
    def mask(self) -> Tensor:
        """(contrast or 1, *voxels) bool; axes of length 1 count for all."""
        return self.sampling.mask[:, 0]

    @property
    def sensitivities(self) -> Tensor:
        """(coil, *voxels), or (contrast, coil, *voxels)."""
        return self.coils.maps

    def forward(self, x: Tensor) -> Tensor:
        """k-space (..., contrast, coil, *voxels) of images (..., contrast, *voxels)."""
        return self.sampling(self.fourier(self.coils(x)))

    def adjoint(self, y: Tensor) -> Tensor:
        """Images (..., contrast, *voxels) of k-space (..., contrast, coil, *voxels)."""
        return self.coils.adjoint(self.fourier.adjoint(self.sampling(y)))

    @property
    def gram(self) -> LinearOperator:
        """E^H E in one piece."""
        return _CartesianGram(self)


class Layout:
    """Mask and coil maps for E^H E: transforms along the axes that it tells apart; they come last, or first.

    Attributes:
        axes: negative indices of the transformed axes, in order.
        mask: (contrast or 1, 1, *k-space), axes in order, the middle of k-space first.
        maps: coil sensitivities, axes in order.
    """

    def __init__(self, encoding: CartesianEncoding, *, last: bool = True) -> None:
        mask = encoding.sampling.mask
        first = -len(encoding.domain)  # type: ignore[arg-type]
        axes = tuple(a for a in range(first, 0) if _varies(mask, a))
        for axis in range(first, 0):
            if axis not in axes:
                mask = mask.narrow(axis, 0, 1)
        # where the image's middle lies is only a phase in k-space, the same for F and its adjoint
        mask = torch.fft.ifftshift(mask, axes) if axes else mask
        order = sorted(range(first, 0), key=lambda axis: (axis in axes) is last)
        self._order = tuple(order)
        self._back = tuple(order.index(axis) + first for axis in range(first, 0))
        self.axes = tuple(range(-len(axes), 0) if last else range(first, first + len(axes)))
        self.mask = _ordered(mask, self._order)
        self.maps = _ordered(encoding.sensitivities, self._order)

    def ordered(self, x: Tensor) -> Tensor:
        """Images with their voxel axes in order."""
        return _ordered(x, self._order)

    def restored(self, x: Tensor) -> Tensor:
        """The reverse."""
        return _ordered(x, self._back)


class _CartesianGram(LinearOperator):
    """Σ_c C_c^* F^H M F C_c along those axes that the mask tells apart."""

    def __init__(self, encoding: CartesianEncoding) -> None:
        super().__init__()
        self.coils = encoding.coils
        self.domain = self.range = encoding.domain
        self.layout = Layout(encoding)  # transforms are quickest along the last axes
        self.axes = self.layout.axes
        self.register_buffer("mask", self.layout.mask)
        self.register_buffer("maps", self.layout.maps)

    mask: Tensor
    maps: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """(..., contrast, *voxels) -> (..., contrast, *voxels)."""
        self.coils.check_images(x)
        mask = self.mask[:, 0]
        x = self.layout.ordered(x)
        total: Tensor | None = None
        # coil by coil: what lies between stays in the caches, and memory does not grow with the coils
        for sensitivity in self.maps.unbind(self.coils.axis):
            seen = x * sensitivity
            if self.axes:
                seen = torch.fft.ifftn(torch.fft.fftn(seen, dim=self.axes) * mask, dim=self.axes)
            else:
                seen = seen * mask
            seen = seen * sensitivity.conj()
            total = seen if total is None else total + seen
        assert total is not None
        return self.layout.restored(total)

    def adjoint(self, y: Tensor) -> Tensor:
        """The same."""
        return self(y)

    @property
    def H(self) -> LinearOperator:
        """Itself."""
        return self


def _ordered(x: Tensor, order: tuple[int, ...]) -> Tensor:
    """The voxel axes in another order, in memory too."""
    if list(order) == sorted(order):
        return x
    lead = range(-x.ndim, -len(order))
    return x.permute(*lead, *order).contiguous()


def _varies(mask: Tensor, axis: int) -> bool:
    """Whether the mask differs along an axis."""
    return not bool((mask == mask.narrow(axis, 0, 1)).all())
