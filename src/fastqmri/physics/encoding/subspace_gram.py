"""E^H E between the components of a temporal subspace: contrasts meet where they were sampled, not one by one."""

from __future__ import annotations

import torch
from torch import Tensor

from fastqmri.physics.encoding.cartesian import CartesianEncoding, Layout
from fastqmri.physics.encoding.operator import LinearOperator
from fastqmri.physics.encoding.subspace import TemporalSubspace


class SubspaceGram(LinearOperator):
    """Φ^H E^H E Φ of a Cartesian scan, (..., component, *voxels) -> (..., component, *voxels).

    Every sample of k-space mixes the components by Σ_t m_t φ_t φ_t^H, so that transforms are needed for components
    only. Where an axis needs no transform, the coils are turned to their principal directions place by place.

    Source: Tamir 2017 for the kernel; Zhang 2013 for coils by location.

    Args:
        encoding: whose coil maps all contrasts share.
        subspace: Φ.
        loss: share of the coils' energy that may be left out at any place of an axis without transform.
    """

    def __init__(self, encoding: CartesianEncoding, subspace: TemporalSubspace, loss: float = 0.0) -> None:
        super().__init__()
        layout = Layout(encoding, last=False)
        self.layout = layout
        self.domain = self.range = (subspace.basis.shape[1], *encoding.domain)  # type: ignore[misc]
        transformed = len(layout.axes)
        self._component = transformed - len(layout.maps.shape)
        self._axes = tuple(range(self._component - transformed, self._component))
        basis = subspace.basis
        mask = layout.mask[:, 0].expand(len(basis), *layout.mask.shape[2:]).flatten(1).to(basis.dtype)
        self.register_buffer("kernel", torch.einsum("ti,tk,tj->kij", basis.conj(), mask, basis))
        maps = _principal_coils(layout.maps, transformed, loss) if loss else layout.maps
        self.register_buffer("maps", maps.unsqueeze(self._component))

    kernel: Tensor
    maps: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """(..., component, *voxels) -> (..., component, *voxels)."""
        axis = -len(self.domain or ())
        x = self.layout.ordered(x).movedim(axis, self._component).contiguous()
        kernel = self.kernel.to(x.dtype if self.kernel.is_complex() else x.real.dtype)
        total: Tensor | None = None
        for sensitivity in self.maps:
            seen = x * sensitivity
            if self._axes:
                seen = torch.fft.fftn(seen, dim=self._axes)
            seen = self._mixed(kernel, seen)
            if self._axes:
                seen = torch.fft.ifftn(seen, dim=self._axes)
            total = seen * sensitivity.conj() if total is None else total + seen * sensitivity.conj()
        assert total is not None
        return self.layout.restored(total.movedim(self._component, axis).contiguous())

    def adjoint(self, y: Tensor) -> Tensor:
        """The same."""
        return self(y)

    @property
    def H(self) -> LinearOperator:
        """Itself."""
        return self

    def noise(self, generator: torch.Generator) -> Tensor:
        """Φ^H E^H n of white n of variance one in each real channel, (component, *voxels)."""
        axis = -len(self.domain or ())
        energies, directions = torch.linalg.eigh(self.kernel.to(torch.complex128))
        root = (directions * energies.clamp_min(0).sqrt()[:, None, :]) @ directions.mH
        root = root.to(self.maps.dtype)
        shape = list(self.maps.shape[1:])
        shape[self._component] = root.shape[1]
        total: Tensor | None = None
        for sensitivity in self.maps:
            white = torch.randn(shape, dtype=self.maps.dtype, generator=generator) * 2**0.5
            seen = self._mixed(root, white)
            if self._axes:
                seen = torch.fft.ifftn(seen, dim=self._axes, norm="ortho")
            total = seen * sensitivity.conj() if total is None else total + seen * sensitivity.conj()
        assert total is not None
        return self.layout.restored(total.movedim(self._component, axis).contiguous())

    def _mixed(self, kernel: Tensor, x: Tensor) -> Tensor:
        """Every sample's matrix times its components, (..., *transformed, component, *others)."""
        components = kernel.shape[1]
        lead = x.ndim + self._component - len(self._axes)
        samples = x.reshape(*x.shape[:lead], len(kernel), components, -1)
        if kernel.is_complex():
            return (kernel @ samples).view(x.shape)
        pairs = torch.view_as_real(samples.contiguous()).flatten(-2)
        return torch.view_as_complex((kernel @ pairs).view(*samples.shape, 2)).view(x.shape)


def subspace_gram(encoding: LinearOperator, subspace: TemporalSubspace, loss: float = 0.0) -> LinearOperator:
    """Φ^H E^H E Φ, as `SubspaceGram` where the encoding allows it."""
    if (
        isinstance(encoding, CartesianEncoding)
        and encoding.sensitivities.ndim == len(encoding.domain or ()) + 1
    ):
        return SubspaceGram(encoding, subspace, loss)
    return subspace.H @ encoding.gram @ subspace


def _principal_coils(maps: Tensor, transformed: int, loss: float) -> Tensor:
    """Fewer coils (coil, *transformed, *others), turned place by place along the axes that are not transformed."""
    columns = maps.flatten(1, transformed) if transformed else maps.unsqueeze(1)
    columns = columns.flatten(2) if columns.ndim > 2 else columns.unsqueeze(2)
    columns = columns.permute(2, 0, 1).to(torch.complex128)
    energies, directions = torch.linalg.eigh(columns @ columns.mH)
    energies = energies.clamp_min(0).flip(-1)
    missing = (energies.sum(-1, keepdim=True) - energies.cumsum(-1)) / energies.sum(-1).amax()
    kept = min(len(maps), 1 + int((missing.amax(0) > loss).sum()))
    turned = directions.flip(-1)[..., :kept].mH @ columns
    return turned.permute(1, 2, 0).reshape(kept, *maps.shape[1:]).to(maps.dtype).contiguous()
