"""What a model-based reconstruction solves for: complex amplitude and scaled tissue parameters of every voxel."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from fastqmri.core import Parameter
from fastqmri.physics.signal import SignalModel

_LOGARITHM_FROM = 3.0
"""Ratio of the prior's limits from which a positive parameter is solved for by its logarithm."""


@dataclass(frozen=True)
class Basis:
    """The signal near some values: ρ = z S, and what the images gain by each unknown.

    Attributes:
        amplitude: z, (*voxels) complex, receive phase included.
        signal: S, (contrast, *voxels), of unit amplitude.
        columns: ∂S/∂v of the scaled parameters, (contrast, parameter, *voxels).
    """

    amplitude: Tensor
    signal: Tensor
    columns: Tensor

    @property
    def images(self) -> Tensor:
        """ρ, (contrast, *voxels)."""
        return self.amplitude * self.signal


@dataclass(frozen=True)
class Unknowns:
    """The rows of v: real and imaginary part of the amplitude, then all other estimated parameters.

    The first parameter of a model is an amplitude; its other amplitudes are solved for as multiples of it, and a
    ``phase`` of a complex model as that of the complex amplitude. Positive parameters of wide range are solved for by
    their logarithms. Each row is scaled so that a change of one unit changes the images by about one.

    Attributes:
        model: A, with the sign of its signal.
        known: parameter name -> (*voxels).
        scale: (row,) v = scale * (unscaled value).
    """

    model: SignalModel
    known: Mapping[str, Tensor]
    scale: Tensor

    @property
    def others(self) -> tuple[int, ...]:
        """Indices of the parameters behind the rows that follow the amplitude's two."""
        return tuple(i for i in self.model.estimated if i and not _is_phase(self.model, i))

    @property
    def names(self) -> tuple[str, ...]:
        """Of those parameters."""
        return tuple(self.model.parameters[i].name for i in self.others)

    def pack(self, amplitude: Tensor, x: Tensor) -> Tensor:
        """v of the complex amplitude and all estimated parameters x (estimated, *voxels)."""
        rows = [amplitude.real, amplitude.imag]
        place = {index: row for row, index in enumerate(self.model.estimated)}
        for index in self.others:
            value = x[place[index]]
            if _is_ratio(self.model.parameters[index]):
                value = value / x[0].clamp_min(torch.finfo(x.dtype).tiny)
            rows.append(value.log() if _is_logarithmic(self.model.parameters[index]) else value)
        return torch.stack(rows) * self._scale(rows[0])

    def amplitude(self, v: Tensor) -> Tensor:
        """z, (*voxels)."""
        return torch.complex(v[0], v[1]) / self.scale[0].to(v)

    def basis(self, v: Tensor) -> Basis:
        """Signal and derivatives at v (row, *voxels)."""
        x, slopes = self._values(v)
        signal, jacobian = self.model.evaluate(self.model.complete(x, self.known))
        columns = [jacobian[:, index] * slope for index, slope in zip(self.others, slopes, strict=True)]
        return Basis(
            self.amplitude(v),
            signal,
            torch.stack(columns, 1) if columns else jacobian[:, :0],
        )

    def parameters(self, v: Tensor) -> Tensor:
        """x of all estimated parameters, (estimated, *voxels)."""
        x, _ = self._values(v)
        z = self.amplitude(v)
        rows = []
        for row, index in zip(x, self.model.estimated, strict=True):
            if index == 0 or _is_ratio(self.model.parameters[index]):
                rows.append(row * z.abs())
            else:
                rows.append(z.angle() if _is_phase(self.model, index) else row)
        return torch.stack(rows)

    def changes(self, v: Tensor, change: Tensor) -> Tensor:
        """∂x/∂v applied to changes of v, (..., row, *voxels) -> (..., estimated, *voxels)."""
        x, slopes = self._values(v)
        z = self.amplitude(v)
        size = z.abs().clamp_min(torch.finfo(v.dtype).tiny)
        moved = torch.complex(*change.unbind(-v.ndim)[:2]) / self.scale[0].to(v)
        along = (z.conj() * moved) / size
        rows = {
            index: change.select(-v.ndim, 2 + row) * slope
            for row, (index, slope) in enumerate(zip(self.others, slopes, strict=True))
        }
        out = []
        for row, index in enumerate(self.model.estimated):
            if index == 0:
                out.append(along.real)
            elif _is_phase(self.model, index):
                out.append(along.imag / size)
            elif _is_ratio(self.model.parameters[index]):
                out.append(rows[index] * size + x[row] * along.real)
            else:
                out.append(rows[index])
        return torch.stack(out, -v.ndim)

    def gradients(self, v: Tensor) -> Tensor:
        """∂x/∂v, (estimated, row, *voxels)."""
        units = torch.eye(len(v), dtype=v.dtype).view(len(v), len(v), *(1,) * (v.ndim - 1))
        return self.changes(v, units.expand(len(v), *v.shape)).transpose(0, 1)

    def typical(self, v: Tensor) -> Tensor:
        """(row, 1, …) size of the rows: the median amplitude, a factor of e, or the prior's range."""
        sizes = self.reach(1.0).to(v)
        sizes[:2] = v[:2].square().sum(0).sqrt().median()
        return sizes.view(-1, *(1,) * (v.ndim - 1))

    def bounded(self, v: Tensor) -> Tensor:
        """v with its parameters inside their bounds."""
        rows = [v[0], v[1]]
        for row, index in enumerate(self.others):
            low, high = self.limits(index)
            scale = float(self.scale[2 + row])
            rows.append(v[2 + row].clamp(low * scale, high * scale))
        return torch.stack(rows)

    def reach(self, fraction: float) -> Tensor:
        """(row,) largest steps: infinite for the amplitude; a factor of e, or the prior's range, times ``fraction``."""
        steps = [torch.inf, torch.inf]
        for index in self.others:
            parameter = self.model.parameters[index]
            low, high = parameter.prior
            steps.append(fraction * (1.0 if _is_logarithmic(parameter) else max(high - low, 1e-12)))
        return torch.tensor(steps, dtype=self.scale.dtype) * self.scale

    def limits(self, index: int) -> tuple[float, float]:
        """Bounds of the unscaled value of a parameter."""
        parameter = self.model.parameters[index]
        low, high = parameter.bounds
        if _is_logarithmic(parameter):
            return (torch.tensor([low, high]).double().log()).tolist()  # type: ignore[return-value]
        return low, high

    def rescaled(self, v: Tensor, inside: Tensor) -> tuple[Unknowns, Tensor]:
        """The same values in units of equal effect on the images, typical of the voxels ``inside``."""
        basis = self.basis(v)
        chosen = inside & (basis.amplitude.abs() > 0)
        chosen = chosen if bool(chosen.any()) else torch.ones_like(chosen)
        size = basis.amplitude.abs()[chosen]
        factors = [_norm(basis.signal[:, chosen]).median() / self.scale[0]] * 2
        factors += [(size * _norm(column)).median() for column in basis.columns[:, :, chosen].unbind(1)]
        factor = torch.stack([f.double() for f in factors]).clamp_min(1e-30)
        scaled = dataclasses.replace(self, scale=self.scale * factor.to(self.scale))
        return scaled, v * factor.to(v).view(-1, *(1,) * (v.ndim - 1))

    def _scale(self, like: Tensor) -> Tensor:
        return self.scale.to(like).view(-1, *(1,) * like.ndim)

    def _values(self, v: Tensor) -> tuple[Tensor, list[Tensor]]:
        """x of unit amplitude and no phase (estimated, *voxels), and ∂x/∂v of the rows after the amplitude's."""
        values, slopes = {}, []
        for row, index in enumerate(self.others):
            scale = float(self.scale[2 + row])
            value = v[2 + row] / scale
            if _is_logarithmic(self.model.parameters[index]):
                value = value.exp()
                slopes.append(value / scale)
            else:
                slopes.append(torch.full_like(value, 1 / scale))
            values[index] = value
        rows = [
            values[index]
            if index in values
            else (torch.zeros_like(v[0]) if _is_phase(self.model, index) else torch.ones_like(v[0]))
            for index in self.model.estimated
        ]
        return torch.stack(rows), slopes


def unscaled(model: SignalModel, known: Mapping[str, Tensor]) -> Unknowns:
    """Unknowns of a model before any scaling; absolute values are replaced by the signed signal."""
    signed = model.signed() or model
    rows = 2 + sum(1 for i in signed.estimated if i and not _is_phase(signed, i))
    return Unknowns(signed, known, torch.ones(rows, dtype=torch.float64))


def _is_phase(model: SignalModel, index: int) -> bool:
    parameter = model.parameters[index]
    return model.complex_valued and parameter.name == "phase" and parameter.unit == "rad"


def _is_ratio(parameter: Parameter) -> bool:
    return parameter.unit == "arbitrary"


def _is_logarithmic(parameter: Parameter) -> bool:
    low, high = parameter.prior
    return parameter.bounds[0] > 0 and low > 0 and high / low > _LOGARITHM_FROM and not _is_ratio(parameter)


def _norm(signal: Tensor) -> Tensor:
    return signal.abs().square().sum(0).sqrt()
