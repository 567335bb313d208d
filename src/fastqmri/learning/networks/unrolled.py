"""One unrolled network for any signal model and any encoding: learned regulariser, then consistency with the data."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from fastqmri.estimators.reconstruction.model_data import pulled_back, pushed_forward
from fastqmri.estimators.reconstruction.model_problem import multiply
from fastqmri.estimators.reconstruction.unknowns import Basis, Unknowns, unscaled
from fastqmri.learning.kspace_inference import Found
from fastqmri.learning.networks.regularizers import (
    FieldsOfExperts,
    Regularizer,
    ResidualCNN,
    TotalVariationLike,
)
from fastqmri.learning.subspace_batch import SubspaceBatch
from fastqmri.physics.signal import SignalModel
from fastqmri.solvers.conjugate_gradient import conjugate_gradient
from fastqmri.solvers.linear import inverse
from fastqmri.solvers.subspace import principal

_CURVES = 2000
_LEFT_OUT = 1e-4
_ATOMS = 256
_VOXEL_STEPS = 2
_VOXEL_DAMPING = 1e-3
_DEVIATIONS = (-6.0, 2.0)
_REACH = 2.0
_BLUR = 9
_TINY = 1e-12
_FAST = 10.0
"""Numbers that a network has few of learn so many times faster than its convolutions."""


@dataclass(frozen=True)
class UnrolledSettings:
    """Size of an unrolled network.

    Attributes:
        cascades: K.
        width: channels of the regularisers.
        depth: convolutions of each.
        regularizer: ``cnn``, ``tv`` or ``experts``.
        mapping_width: channels of the network that corrects the start.
        mapping_depth: its convolutions.
        warm: conjugate gradient steps of the component images that it starts from.
        edges: smoothness between neighbours, less of it across edges, is part of each data step.
        inner: conjugate gradient steps of each data step; 0 takes one step of learned size down the gradient.
        preconditioned: by each voxel's own block of the curvature.
        data_consistency: without, cascades are regularisers only (for comparison).
        dimensions: of space.
    """

    cascades: int = 3
    width: int = 32
    depth: int = 5
    regularizer: Literal["cnn", "tv", "experts"] = "cnn"
    mapping_width: int = 32
    mapping_depth: int = 5
    warm: int = 1
    edges: bool = True
    inner: int = 5
    preconditioned: bool = True
    data_consistency: bool = True
    dimensions: int = 2


@dataclass(frozen=True)
class Unrolled:
    """What an unrolled network found.

    Attributes:
        unknowns: what the rows mean, of all slices.
        v: (row, slice, *voxels) after the start's correction and after every cascade.
        start: component images (component, slice, *voxels), in units of ``scale`` and without ``phase``.
        phase: (slice, *voxels) of unit modulus.
        scale: (slice,) unit of the images.
    """

    unknowns: Unknowns
    v: list[Tensor]
    start: Tensor
    phase: Tensor
    scale: Tensor

    def amplitude(self) -> Tensor:
        """z of the last v in units of the data, phase included, (slice, *voxels)."""
        unit = self.scale.view(-1, *(1,) * (self.phase.ndim - 1))
        return self.unknowns.amplitude(self.v[-1]) * self.phase * unit

    def found(self, basis: Tensor, transposed: bool = False) -> list[Found]:
        """What was found of each slice, amplitudes in units of the data.

        Args:
            basis: of the component images.
            transposed: planes have their two axes exchanged.
        """
        unit = self.scale.view(-1, *(1,) * (self.phase.ndim - 1))
        factor = self.phase * unit
        z = torch.complex(*self.v[-1][:2].unbind(0)) * factor
        v = torch.cat([torch.stack([z.real, z.imag]), self.v[-1][2:]])
        images = torch.tensordot(basis.to(self.start.dtype), self.start * factor, 1)
        known = dict(self.unknowns.known)
        if transposed:
            v, images, known = v.mT, images.mT, {name: value.mT for name, value in known.items()}
        return [
            Found(
                Unknowns(self.unknowns.model, {n: x[i] for n, x in known.items()}, self.unknowns.scale),
                v[:, i].contiguous(),
                images[:, i].contiguous(),
            )
            for i in range(v.shape[1])
        ]

    def parameters(self, step: int = -1) -> Tensor:
        """(estimated, slice, *voxels) of one step; amplitudes in units of the data."""
        x = self.unknowns.parameters(self.v[step])
        unit = self.scale.view(-1, *(1,) * (self.phase.ndim - 1))
        model = self.unknowns.model
        return torch.stack(
            [
                row * unit if model.parameters[i].unit == "arbitrary" else row
                for row, i in zip(x, model.estimated, strict=True)
            ]
        )


class UnrolledNetwork(nn.Module):
    """v ← v - P [J^H (E^H E A(v) - E^H y) + λ (v - D(v))], from v of a voxel-wise fit, corrected by a network.

    v holds complex amplitude and scaled parameters, so that one step size serves all of them; D is a learned denoiser,
    whose derivative is left out. P is a step size for every row, and the inverse of each voxel's own block of the
    curvature besides, or, with ``inner`` steps, conjugate gradients on the whole Gauss-Newton system. The networks see
    what the data want to change, and how well each voxel is determined.

    Source: Jun 2021 (the update is Zhu 2023, Eq. 21, with its sign corrected), preconditioned as in our model-based
    reconstruction; Aggarwal 2019 for conjugate gradients inside a network.

    Args:
        model: A and its acquisition; any.
        settings: of the size.
        ranges: parameter name -> values that training has, for units and limits; the priors if left out.
    """

    def __init__(
        self,
        model: SignalModel,
        settings: UnrolledSettings = UnrolledSettings(),
        ranges: Mapping[str, tuple[float, float]] | None = None,
    ) -> None:
        super().__init__()
        self.settings = settings
        signed = model.signed() or model
        self.model = signed
        generator = torch.Generator().manual_seed(0)
        points = _points(signed, _CURVES, ranges or {}, generator)
        curves = signed(points)
        curves = curves / curves.norm(dim=0)
        directions, shares = principal(curves.T)
        rank = 1 + int((1 - shares > _LEFT_OUT).sum())
        basis = directions[:, :rank].conj().resolve_conj()
        components = basis.mH @ curves.to(basis.dtype)
        self.register_buffer("basis", _single(basis))
        self.register_buffer("shares", components.abs().square().mean(1).float())
        plain = unscaled(signed, {})
        known = {p.name: points[i] for i, p in enumerate(signed.parameters) if p.nominal is not None}
        plain = Unknowns(signed, known, plain.scale)
        v = plain.pack(torch.ones(_CURVES, dtype=torch.complex128), points[list(signed.estimated)])
        scaled, v = plain.rescaled(v, torch.ones(_CURVES, dtype=torch.bool))
        low, high = v.amin(1), v.amax(1)
        unit = ((high - low) / 4).clamp_min(1e-6)
        reach = scaled.reach(1.0).clamp_max(4 * float(scaled.scale[0]))
        reach[:2] = 4 * scaled.scale[0]
        self.register_buffer("reach", reach.float())
        unit[:2], low[:2], high[:2] = scaled.scale[0], -math.inf, math.inf
        middle = ((low + high) / 2).nan_to_num(0.0)
        self.register_buffer("scale", scaled.scale)
        for name, value in {"unit": unit, "middle": middle, "low": low, "high": high}.items():
            self.register_buffer(name, value.float())
        atoms, places = _atoms(signed, scaled, ranges or {}, basis)
        self.register_buffer("atoms", _single(atoms))
        self.register_buffer("places", places.float())
        rows = len(v)
        extra = 2 * (rows - 2) + 1 if rows > 2 else 1
        self.mapping = ResidualCNN(
            rows,
            2 * rank + extra + 1,
            width=settings.mapping_width,
            depth=settings.mapping_depth,
            dimensions=settings.dimensions,
        )
        groups = (rows > 2) + 1
        context = (rows + groups * settings.edges) * settings.data_consistency + extra
        self.regularizers = nn.ModuleList(
            _regularizer(settings, rows, context, groups) for _ in range(settings.cascades)
        )
        smoothing = [max(4.5 / 3**k, 0.75) for k in range(settings.cascades)]
        self.precision = nn.Parameter(torch.full((settings.cascades, rows), -9.0 / _FAST))
        self.smoothing = nn.Parameter(torch.tensor(smoothing).log() / _FAST)
        weight = torch.tensor([0.15, 0.3][:groups]).log()
        self.weight = nn.Parameter(weight.repeat(settings.cascades, 1) / _FAST)
        self.edge = nn.Parameter(torch.full((settings.cascades,), math.log(20.0) / _FAST))
        self.step = nn.Parameter(torch.zeros(settings.cascades, rows))

    basis: Tensor
    shares: Tensor
    scale: Tensor
    unit: Tensor
    reach: Tensor
    middle: Tensor
    low: Tensor
    high: Tensor
    atoms: Tensor
    places: Tensor

    def forward(
        self, batch: SubspaceBatch, known: Mapping[str, Tensor], cascades: int | None = None
    ) -> Unrolled:
        """Maps of several slices.

        Args:
            batch: their k-space, in this network's ``basis``.
            known: parameter name -> (slice, *voxels).
            cascades: how many to run, all if None; 0 stops after the start's correction.
        """
        unknowns = Unknowns(self.model, known, self.scale)
        with torch.no_grad():
            coefficients = batch.images(self.shares, self.settings.warm)
            power = _squared(coefficients).sum(0).flatten(1)
            scale = ((power * power).sum(1) / power.sum(1).clamp_min(_TINY)).sqrt().clamp_min(_TINY)
            phase = _smooth_phase(coefficients[0])
            batch = batch.turned(phase, scale)
            unit = scale.view(-1, *(1,) * (coefficients.ndim - 2))
            coefficients = coefficients * (phase.conj() / unit)
            v, residual = self._fitted(unknowns, coefficients)
        v = self._corrected(unknowns, batch, coefficients, residual, v)
        steps, memory = [v], None
        count = self.settings.cascades if cascades is None else cascades
        for k in range(count):
            v, memory = self._cascade(k, unknowns, batch, v, memory)
            steps.append(v)
        return Unrolled(unknowns, steps, coefficients, phase, scale)

    def normalised(self, v: Tensor) -> Tensor:
        """v as networks see it, (slice, row, *voxels)."""
        middle, unit = (_rows(x, v) for x in (self.middle, self.unit))
        return ((v - middle) / unit).movedim(0, 1)

    def _corrected(
        self, unknowns: Unknowns, batch: SubspaceBatch, coefficients: Tensor, residual: Tensor, v: Tensor
    ) -> Tensor:
        with torch.no_grad():
            basis = self._components(unknowns, v)
            context = [
                coefficients.real.movedim(0, 1),
                coefficients.imag.movedim(0, 1),
                residual.clamp_min(1e-4).log()[:, None],
                self._deviations(batch, self._blocks(unknowns, batch.density, basis), basis),
            ]
        change, _ = self.mapping(self.normalised(v), torch.cat(context, 1), None)
        return self._moved(v, change.movedim(1, 0) * _rows(self.unit, v))

    def _cascade(
        self,
        k: int,
        unknowns: Unknowns,
        batch: SubspaceBatch,
        v: Tensor,
        memory: Tensor | None,
    ) -> tuple[Tensor, Tensor | None]:
        unit = _rows(self.unit, v)
        basis = self._components(unknowns, v)
        blocks = self._blocks(unknowns, batch.density, basis)
        context = [self._deviations(batch, blocks, basis).detach()]
        if not self.settings.data_consistency:
            change, memory = self.regularizers[k](self.normalised(v), context[0], memory)
            return self._moved(v, change[:, : len(v)].movedim(1, 0) * unit), memory
        images = basis.images.to(batch.back.dtype)
        gradient = pulled_back(unknowns, basis, batch.gram(images) - batch.back)
        precision = functional.softplus(_FAST * _rows(self.precision[k], v))
        ties = self._ties(k, batch, v) if self.settings.edges else None
        diagonal = precision
        if ties is not None:
            context.append(ties[1])
            diagonal = precision + _by_row(_neighbours(ties[0]), len(v))
        blocks = _with_diagonal(blocks, diagonal)
        preconditioner = inverse(blocks)
        wish = multiply(preconditioner, gradient)
        context.append((-wish / unit).clamp(-_REACH, _REACH).movedim(0, 1))
        change, memory = self.regularizers[k](self.normalised(v), torch.cat(context, 1), memory)
        pull = change[:, : len(v)].movedim(1, 0) * unit
        right = precision * pull - gradient
        stiffness = None
        if ties is not None:
            stiffness = ties[0]
            if change.shape[1] > len(v):
                factor = change[:, len(v) :].clamp(-_REACH, _REACH).exp().movedim(1, 0)
                stiffness = stiffness * factor
            stiffness = _by_row(stiffness, len(v))
            right = right - _tied(stiffness, v)
        if self.settings.inner:

            def system(x: Tensor) -> Tensor:
                x = x.movedim(1, 0)
                curved = pulled_back(unknowns, basis, batch.gram(pushed_forward(unknowns, basis, x)))
                curved = curved + precision * x
                return (curved if stiffness is None else curved + _tied(stiffness, x)).movedim(0, 1)

            step = conjugate_gradient(
                system,
                right.movedim(0, 1),
                start=pull.movedim(0, 1),
                iterations=self.settings.inner,
                preconditioner=lambda x: multiply(preconditioner, x.movedim(1, 0)).movedim(0, 1),
                dimensions=v.ndim - 1,
            ).movedim(1, 0)
        elif self.settings.preconditioned:
            step = multiply(preconditioner, right)
        else:
            step = right
        return self._moved(v, _rows((_FAST * self.step[k]).exp(), v) * step), memory

    def _ties(self, k: int, batch: SubspaceBatch, v: Tensor) -> tuple[Tensor, Tensor]:
        """Stiffness between neighbours of amplitude and parameters, (group, slice, *voxels), and what tells edges.

        That of the quadratic that touches Σ δ ln(1 + (√(|D v|² + ε²) - ε)/δ), all in units of the noise.
        """
        noise = batch.noise.view(-1, *(1,) * (v.ndim - 2))
        epsilon, edge = ((_FAST * x[k]).exp() * noise for x in (self.smoothing, self.edge))
        rows, marks = [], []
        for group, part in enumerate((v[:2], v[2:])[: self.weight.shape[1]]):
            total = epsilon * epsilon
            for axis in range(2, v.ndim):
                away = part.narrow(axis, 1, v.shape[axis] - 1) - part.narrow(axis, 0, v.shape[axis] - 1)
                total = total + _padded((away * away).sum(0), axis - 1, after=1)
            size = total.sqrt()
            rows.append(
                (_FAST * self.weight[k, group]).exp() * noise / (size * (1 + (size - epsilon) / edge))
            )
            marks.append(epsilon / size)
        return torch.stack(rows), torch.stack(marks, 1)

    def _components(self, unknowns: Unknowns, v: Tensor) -> Basis:
        """Signal and derivatives at v in the span of the model's signals."""
        basis = unknowns.basis(v)
        matrix = self.basis.mH.to(basis.columns.dtype if basis.signal.is_complex() else self.basis.dtype)
        signal, columns = (
            torch.tensordot(matrix, x.to(matrix.dtype), 1) for x in (basis.signal, basis.columns)
        )
        return Basis(basis.amplitude, signal, columns)

    def _blocks(self, unknowns: Unknowns, density: Tensor, basis: Basis) -> Tensor:
        """Each voxel's own part of the curvature, (row, row, slice, *voxels)."""
        density = density.view(*density.shape, *(1,) * (basis.signal.ndim - 2))
        weighted = density * basis.signal.conj() / float(unknowns.scale[0])
        own = (weighted * basis.signal).real.sum(0) / float(unknowns.scale[0])
        size = _squared(basis.amplitude)
        zero = torch.zeros_like(own)
        columns = basis.columns.unbind(1)
        rows = [[own, zero], [zero, own]]
        for i, column in enumerate(columns):
            cross = (weighted * column).sum(0) * basis.amplitude
            rows[0].append(cross.real)
            rows[1].append(cross.imag)
            earlier = [(density * (column.conj() * other).real).sum(0) * size for other in columns[: i + 1]]
            for j in range(i):
                rows[2 + j].append(earlier[j])
            rows.append([cross.real, cross.imag, *earlier])
        return torch.stack([torch.stack(row) for row in rows])

    def _deviations(self, batch: SubspaceBatch, blocks: Tensor, basis: Basis) -> Tensor:
        """(slice, channel, *voxels) logarithms of what noise does to each parameter, and of the amplitude's to it."""
        noise = batch.noise.view(-1, *(1,) * (blocks.ndim - 3))
        rows = [(noise / basis.amplitude.abs().clamp_min(_TINY)).log()]
        for row in range(2, len(blocks)):
            size = blocks[row, row].clamp_min(_TINY).rsqrt() * noise / self.unit[row]
            rows += [size.log(), size.clamp_max(_REACH)]
        return torch.stack(rows, 1).clamp(*_DEVIATIONS)

    def _moved(self, v: Tensor, step: Tensor) -> Tensor:
        """v + step inside what training has; the derivative goes through the limits."""
        reach = _rows(self.reach, v)
        out = v + torch.minimum(torch.maximum(step, -reach), reach)
        low, high = _rows(self.low, v), _rows(self.high, v)
        return out + (torch.minimum(torch.maximum(out, low), high) - out).detach()

    def _nearest(self, coefficients: Tensor) -> Tensor:
        """Index of the atom nearest to each voxel, (slice, *voxels)."""
        if self.atoms.is_complex():
            overlap = (self.atoms.mH @ coefficients.flatten(1)).abs()
        else:
            overlap = (self.atoms.T @ coefficients.real.flatten(1)).abs_()
        # a running maximum: argmax over the first axis goes through memory in the wrong order
        highest, best = overlap[0], torch.zeros(overlap.shape[1:], dtype=torch.int64)
        for index, row in enumerate(overlap[1:], 1):
            best.masked_fill_(row > highest, index)
            highest = torch.maximum(highest, row)
        return best.view(coefficients.shape[1:])

    def _fitted(self, unknowns: Unknowns, coefficients: Tensor) -> tuple[Tensor, Tensor]:
        """v of a voxel-wise fit of component images, and the size of what it leaves."""
        best = self._nearest(coefficients)
        others = self.places[:, best]
        v = torch.cat([torch.zeros(2, *best.shape), others])
        density = coefficients.real.new_ones(coefficients.shape[:2])
        residual = coefficients
        for step in range(_VOXEL_STEPS + 1):
            basis = self._components(unknowns, v)
            energy = _squared(basis.signal).sum(0).clamp_min(_TINY)
            z = (basis.signal.conj() * coefficients).sum(0) / energy
            v = torch.cat([torch.stack([z.real, z.imag]) * self.scale[0].to(v), v[2:]])
            basis = Basis(z, basis.signal, basis.columns)
            residual = basis.images - coefficients
            if step == _VOXEL_STEPS or len(v) == 2:
                break
            blocks = self._blocks(unknowns, density, basis)
            blocks = _with_diagonal(blocks, torch.full_like(v[:, :1], _VOXEL_DAMPING))
            v = self._moved(v, -multiply(inverse(blocks), pulled_back(unknowns, basis, residual)))
        return v, _squared(residual).sum(0).sqrt()


def _squared(x: Tensor) -> Tensor:
    """|x|²; powers and moduli of whole tensors are slow."""
    return x.real * x.real + x.imag * x.imag if x.is_complex() else x * x


def _rows(values: Tensor, like: Tensor) -> Tensor:
    return values.to(like).view(-1, *(1,) * (like.ndim - 1))


def _single(x: Tensor) -> Tensor:
    return x.to(torch.complex64 if x.is_complex() else torch.float32)


def _with_diagonal(blocks: Tensor, values: Tensor) -> Tensor:
    """Blocks plus a diagonal (row, 1, …)."""
    eye = torch.eye(len(blocks), dtype=blocks.dtype).view(*blocks.shape[:2], *(1,) * (blocks.ndim - 2))
    return blocks + eye * values[:, None]


def _padded(x: Tensor, axis: int, before: int = 0, after: int = 0) -> Tensor:
    pads = [0, 0] * (x.ndim - 1 - axis)
    return functional.pad(x, [*pads, before, after])


def _neighbours(ties: Tensor) -> Tensor:
    """Diagonal of D^T W D of W (group, slice, *voxels), for every row: (row, ...)."""
    total = torch.zeros_like(ties)
    for axis in range(2, ties.ndim):
        inside = ties.narrow(axis, 0, ties.shape[axis] - 1)
        total = total + _padded(inside, axis, after=1) + _padded(inside, axis, before=1)
    return total


def _tied(stiffness: Tensor, x: Tensor) -> Tensor:
    """D^T W D x, (row, slice, *voxels)."""
    total: Tensor | None = None
    for axis in range(2, x.ndim):
        side = x.shape[axis] - 1
        away = x.narrow(axis, 1, side) - x.narrow(axis, 0, side)
        away = away * stiffness.narrow(axis, 0, side)
        here = _padded(away, axis, before=1) - _padded(away, axis, after=1)
        total = here if total is None else total + here
    assert total is not None
    return total


def _by_row(groups: Tensor, rows: int) -> Tensor:
    """Values of amplitude and parameters (group, ...) for every row, (row, ...)."""
    return torch.cat(
        [groups[:1].expand(2, *groups.shape[1:]), groups[1:].expand(rows - 2, *groups.shape[1:])]
    )


def _smooth_phase(amplitude: Tensor) -> Tensor:
    """(slice, *voxels) phase of amplitudes averaged over neighbours, as a number of unit modulus."""
    dimensions = amplitude.ndim - 1
    pool = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}[dimensions]
    parts = torch.stack([amplitude.real, amplitude.imag], 1)
    for axis in range(dimensions):
        window = tuple(_BLUR if axis == a else 1 for a in range(dimensions))
        parts = pool(parts, window, 1, tuple(w // 2 for w in window))
    smooth = torch.complex(parts[:, 0], parts[:, 1])
    return torch.where(smooth.abs() > _TINY, smooth / smooth.abs().clamp_min(_TINY), 1.0)


def _points(
    model: SignalModel,
    count: int,
    ranges: Mapping[str, tuple[float, float]],
    generator: torch.Generator,
) -> Tensor:
    """Parameters (parameter, count) from their ranges, of unit amplitude."""
    rows = []
    for i, parameter in enumerate(model.parameters):
        low, high = ranges.get(parameter.name, parameter.prior)
        share = torch.rand(count, dtype=torch.float64, generator=generator)
        if i == 0:
            rows.append(torch.ones_like(share))
        elif low > 0 and high / low > 3:
            rows.append(low * (high / low) ** share)
        else:
            rows.append(low + (high - low) * share)
    return torch.stack(rows)


def _atoms(
    model: SignalModel, unknowns: Unknowns, ranges: Mapping[str, tuple[float, float]], basis: Tensor
) -> tuple[Tensor, Tensor]:
    """Unit component vectors (component, atom) of a grid over the parameters, and their rows of v (row - 2, atom)."""
    others = unknowns.others
    count = max(2, min(32, int(_ATOMS ** (1 / max(len(others), 1)))))
    axes: list[Sequence[float]] = []
    for i in others:
        low, high = ranges.get(model.parameters[i].name, model.parameters[i].prior)
        steps = [k / (count - 1) for k in range(count)]
        wide = low > 0 and high / low > 3
        axes.append([low * (high / low) ** s if wide else low + (high - low) * s for s in steps])
    grid = torch.tensor(list(itertools.product(*axes)), dtype=torch.float64).T
    x = torch.ones(len(model.parameters), grid.shape[1], dtype=torch.float64)
    for i, parameter in enumerate(model.parameters):
        if i in others:
            x[i] = grid[others.index(i)]
        elif parameter.nominal is not None:
            x[i] = parameter.nominal
        elif i:
            x[i] = 0.0
    atoms = basis.mH @ model(x).to(basis.dtype)
    v = Unknowns(model, {}, unknowns.scale).pack(
        torch.ones_like(x[0], dtype=torch.complex128), x[list(model.estimated)]
    )
    return atoms / atoms.norm(dim=0), v[2:]


def _regularizer(settings: UnrolledSettings, rows: int, context: int, groups: int) -> Regularizer:
    if settings.regularizer == "tv":
        return TotalVariationLike(rows, dimensions=settings.dimensions)
    if settings.regularizer == "experts":
        return FieldsOfExperts(rows, dimensions=settings.dimensions)
    return ResidualCNN(
        rows,
        context,
        extra=groups if settings.edges else 0,
        width=settings.width,
        depth=settings.depth,
        dimensions=settings.dimensions,
    )
