"""Dictionary matching for any signal model: the atom most like each voxel's signal."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import Tensor

from fastqmri.core import Parameter
from fastqmri.estimators.atoms import Everything, Grouped, Nearest, Searcher
from fastqmri.estimators.dictionary import Dictionary, Progress, build, identity
from fastqmri.estimators.grid import Axis, Constraint, Grid, amplitudes, free_phase
from fastqmri.estimators.voxelwise import CHUNK, Voxelwise
from fastqmri.physics.signal import SignalModel
from fastqmri.solvers import nearest
from fastqmri.solvers.levenberg_marquardt import levenberg_marquardt
from fastqmri.solvers.linear import inverse, products
from fastqmri.solvers.solution import PackedSolution, Solution, symmetric

Search = Literal["exact", "full", "compressed", "grouped"]
_BINS = 16  # of a known map over the prior of its quantity
_STEPS = 10
_SETTLED = 1e-4
_DERIVATIVES = 4096
_KEPT = 16
_KEPT_BYTES = 1 << 30
_RECENT: dict[tuple[str, str], Matcher] = {}
_RECENT_LOCK = threading.Lock()


def dictionary_matching(
    model: SignalModel,
    axes: Mapping[str, Axis] | None = None,
    constraints: Sequence[Constraint] | None = None,
    *,
    search: Search = "exact",
    refine: bool = False,
    noise: str = "gaussian",
    dtype: torch.dtype = torch.float64,
    cache: Path | None = None,
    chunk: int = CHUNK,
    progress: Progress | None = None,
) -> Voxelwise:
    """An estimator that matches every voxel with a dictionary of the model.

    Args:
        model: any `SignalModel`.
        axes: values of the grid by parameter; see `Grid.of`.
        constraints: see `Grid.of`.
        search: ``exact`` (a tree on the compressed dictionary that proves or corrects its finds), ``full`` (every
            inner product), ``compressed`` (every inner product in a subspace where no atom loses more than 3e-4 of
            its norm) or ``grouped`` (there, the most similar groups of atoms); the last two are approximate.
        refine: follow the match by a few least-squares steps off the grid.
        noise: ``gaussian`` or ``rician``.
        dtype: of the atoms; single precision halves their memory.
        cache: folder for dictionaries; None takes the user's.
        chunk: voxels a batch.
        progress: called with (voxels done, voxels in all).
    """
    solve = Matching(search, refine, dict(axes or {}), constraints, dtype, cache)
    return Voxelwise(model, solve, solve.name, noise=noise, chunk=chunk, progress=progress)


@dataclass(frozen=True)
class Matching:
    """A solver of `Voxelwise` by dictionary matching. Dictionaries are built when they are first needed.

    Known maps (B1+) are rounded to bins, each of which has a dictionary of its own.

    Attributes:
        search: way of looking for the best atom; see `dictionary_matching`.
        refine: follow the match by least-squares steps.
        axes: of the grid.
        constraints: of the grid.
        dtype: of the atoms.
        cache: folder for dictionaries, or None.
    """

    widens: ClassVar = True
    search: Search = "exact"
    refine: bool = False
    axes: Mapping[str, Axis] = field(default_factory=dict)
    constraints: Sequence[Constraint] | None = None
    dtype: torch.dtype = torch.float64
    cache: Path | None = None
    _built: weakref.WeakKeyDictionary[SignalModel, dict[tuple[float, ...], Matcher]] = field(
        default_factory=weakref.WeakKeyDictionary, compare=False, repr=False
    )
    _lock: threading.RLock = field(default_factory=threading.RLock, compare=False, repr=False)

    @property
    def name(self) -> str:
        """Of the method, for the records."""
        if self.refine:
            return "matching-refined"
        kind = {"exact": "", "full": "-full", "compressed": "-svd", "grouped": "-group"}[self.search]
        return f"matching{kind}"

    def __call__(
        self, model: SignalModel, data: Tensor, weights: Tensor | None, known: dict[str, Tensor]
    ) -> Solution:
        """Match a batch: data (contrast, voxel) to the model's estimated parameters."""
        parts = []
        for centres, index in _binned(model, known, data.shape[1]):
            matcher = self.matcher(model, centres)
            part = data if index is None else data[:, index]
            weight = weights if weights is None or index is None else weights[:, index]
            exact = known if index is None else {name: value[index] for name, value in known.items()}
            solution = matcher.match(model, part, weight)
            if self.refine:
                solution = _refined(model, solution, part, weight, exact)
            parts.append((index, solution))
        return _joined(parts, data.shape[1])

    def prepare(self, model: SignalModel, progress: Progress | None = None) -> None:
        """Build the dictionary for the nominal values of known quantities, unless it is there."""
        self.matcher(model, {}, progress)

    def matcher(
        self, model: SignalModel, known: Mapping[str, float], progress: Progress | None = None
    ) -> Matcher:
        """The matcher for values of the known quantities."""
        key = tuple(known.get(p.name, p.nominal) for p in model.parameters if p.nominal is not None)
        with self._lock:
            built = self._built.setdefault(model, {})
            if key not in built:
                grid = Grid.of(model, self.axes, self.constraints, known)
                built[key] = self._recent(model, grid, progress)
            return built[key]

    def _recent(self, model: SignalModel, grid: Grid, progress: Progress | None) -> Matcher:
        """A matcher of the same physics, schedule and grid that another model needed lately, or a new one."""
        physics = identity(model, grid, self.dtype)
        with _RECENT_LOCK:
            matcher = _RECENT.pop((physics, self.search), None)
            if matcher is None:
                same = [m.dictionary for (other, _), m in _RECENT.items() if other == physics]
                dictionary = (
                    same[0]
                    if same
                    else build(model, grid, physics, self.dtype, self.cache, progress=progress)
                )
                matcher = Matcher.of(dictionary, self.search, model)
            _RECENT[physics, self.search] = matcher
            while len(_RECENT) > 1 and (len(_RECENT) > _KEPT or _recent_bytes() > _KEPT_BYTES):
                _RECENT.pop(next(iter(_RECENT)))
        return matcher

    def notes(self, model: SignalModel) -> tuple[str, ...]:
        """What the user should know of the dictionaries used."""
        built = self._built.get(model, {})
        if not built:
            return ()
        first = next(iter(built.values())).dictionary
        notes = [f"Dictionary of {first.grid.describe()}."]
        if len(built) > 1:
            names = [p.name for p in model.parameters if p.nominal is not None]
            notes.append(f"{len(built)} dictionaries, for {' and '.join(names)} in bins.")
        if not self.refine:
            notes.append("The step of the grid is part of the standard deviations (uniform within a step).")
        return tuple(notes)


@dataclass(frozen=True)
class Matcher:
    """A dictionary ready for matching.

    Attributes:
        dictionary: with its grid.
        searcher: finds atoms.
        rows: (atom, sample) atoms as real numbers, where the modulus of complex products does not count.
        estimated: indices of the parameters to return.
        amplitudes: indices of the amplitudes.
        phase: index of the phase that all contrasts share, or None.
        covariances: (entry, atom) per unit noise variance at unit amplitude, packed; filled as atoms are met.
        met: (atom) bool.
    """

    dictionary: Dictionary
    searcher: Searcher
    rows: Tensor
    estimated: tuple[int, ...]
    amplitudes: tuple[int, ...]
    phase: int | None
    covariances: Tensor
    met: Tensor

    @classmethod
    def of(cls, dictionary: Dictionary, search: Search, model: SignalModel) -> Matcher:
        """Prepare the search."""
        phase = free_phase(model)
        atoms = dictionary.atoms
        rows = _real(atoms) if phase is None else atoms
        if phase is not None:  # no tree knows an unknown phase
            searcher: Searcher = Everything.compressed(atoms) if search == "compressed" else Everything(atoms)
        elif search == "compressed":
            searcher = Everything.compressed(rows)
        elif search == "grouped":
            searcher = Grouped.of(rows)
        elif search == "exact" and nearest.kernels() is not None:
            searcher = Nearest.of(rows)
        else:
            searcher = Everything(rows)
        unknowns = len(model.estimated)
        return cls(
            dictionary,
            searcher,
            rows,
            model.estimated,
            tuple(amplitudes(model)),
            phase,
            torch.empty(unknowns * (unknowns + 1) // 2, len(atoms), dtype=torch.float64),
            torch.zeros(len(atoms), dtype=torch.bool),
        )

    def find(self, data: Tensor) -> Tensor:
        """Atom numbers, (voxel), for data (contrast, voxel)."""
        return self.searcher.find(_unit_rows(self._as_rows(data)))

    def match(self, model: SignalModel, data: Tensor, weights: Tensor | None) -> Solution:
        """Parameters at the best atom, standard deviations from the model's Jacobian there."""
        rows = self._as_rows(data)
        if weights is None:
            chosen = self.searcher.find(_unit_rows(rows))
            product, residual = self._compared(rows, chosen)
        else:
            weight = weights.T.contiguous()
            weight = weight.repeat_interleave(2, 1) if rows.shape[1] != weight.shape[1] else weight
            chosen = Everything(self.rows).weighted(rows, weight)
            product, residual = self._compared_weighted(rows, weight, chosen)
        grid, norms = self.dictionary.grid, self.dictionary.norms[chosen]
        amplitude = (product.abs() if product.is_complex() else product) / norms
        x = grid.points[:, chosen].clone()
        fixed = (grid.step[:, chosen] ** 2) / 12
        for i in self.amplitudes:
            x[i] = x[i] * amplitude
            fixed[i] = fixed[i] * amplitude**2
        if self.phase is not None:
            x[self.phase] = product.angle()
        free = list(self.estimated)
        if weights is None:
            packed = self._covariance(model, chosen, amplitude)
        else:
            packed = _packed_covariance(model.jacobian(x)[:, free], weights)
        return PackedSolution.of(
            x[free],
            packed,
            residual,
            torch.isfinite(amplitude),
            fixed=fixed[free],
            at_bound=grid.edge[chosen] | (amplitude <= 0),
        )

    def _as_rows(self, data: Tensor) -> Tensor:
        wide = data.T.to(torch.complex128 if data.is_complex() else torch.float64).contiguous()
        return wide if self.phase is not None else _real(wide)

    def _compared(self, rows: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """<atom, data> (voxel), and the residual sum of squares."""
        if rows.is_complex():
            product = (self.rows[chosen].to(rows).conj() * rows).sum(1)
        else:
            one = torch.ones(len(chosen), dtype=torch.int64).numpy()
            _, found = nearest.best_of(chosen[:, None].numpy(), one, self.rows.numpy(), rows.numpy())
            product = torch.from_numpy(found)
        energy = rows.abs().square().sum(1)
        return product, (energy - product.abs().square()).clamp_min(0)

    def _compared_weighted(self, rows: Tensor, weight: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
        atoms = self.rows[chosen].to(rows)
        norm = (weight * atoms.abs().square()).sum(1).clamp_min(1e-300)
        product = (weight * atoms.conj() * rows).sum(1)
        residual = (weight * rows.abs().square()).sum(1) - product.abs().square() / norm
        return product / norm, residual.clamp_min(0)

    def _covariance(self, model: SignalModel, chosen: Tensor, amplitude: Tensor) -> Tensor:
        """Packed covariances; each atom's is computed once, at unit amplitude, and scaled to the voxels'."""
        free = list(self.estimated)
        numbers = torch.zeros(len(self.met), dtype=torch.bool)
        numbers[chosen] = True
        for part in (numbers & ~self.met).nonzero()[:, 0].split(_DERIVATIVES):
            jacobian = model.jacobian(self.dictionary.grid.points[:, part])[:, free]
            self.covariances[:, part] = _packed_covariance(jacobian, None)
            self.met[part] = True
        packed = self.covariances[:, chosen]
        scale = amplitude.abs().clamp_min(1e-300).reciprocal()
        factors = [torch.ones_like(scale) if i in self.amplitudes else scale for i in free]
        for row, of_row in enumerate(factors):
            for column, of_column in enumerate(factors[: row + 1]):
                packed[row * (row + 1) // 2 + column] *= of_row * of_column
        return packed


def _recent_bytes() -> int:
    atoms = {m.dictionary.key: m.dictionary.atoms for m in _RECENT.values()}
    return sum(part.numel() * part.element_size() for part in atoms.values())


def _packed_covariance(jacobian: Tensor, weights: Tensor | None) -> Tensor:
    """(JᵀWJ)⁻¹ of (contrast, unknown, voxel), packed; infinite where it does not exist."""
    if jacobian.is_complex():
        jacobian = torch.cat([jacobian.real, jacobian.imag])
        weights = None if weights is None else torch.cat([weights, weights])
    unknowns = jacobian.shape[1]
    jacobian = jacobian.double()
    normal = symmetric(
        products(jacobian if weights is None else jacobian * weights[:, None], jacobian), unknowns
    )
    covariance = inverse(normal)
    return torch.stack([covariance[i, j] for i in range(unknowns) for j in range(i + 1)])


def _refined(
    model: SignalModel, start: Solution, data: Tensor, weights: Tensor | None, known: dict[str, Tensor]
) -> Solution:
    free = list(model.estimated)
    lower, upper = (bound[free] for bound in model.bounds(model.complete(start.x, known)))

    def evaluate(x: Tensor, active: Tensor) -> tuple[Tensor, Tensor]:
        return model.evaluate_estimated(model.complete(x, {k: v[active] for k, v in known.items()}))

    wide = data.to(torch.complex128 if data.is_complex() else torch.float64)
    return levenberg_marquardt(
        evaluate, wide, start.x, lower, upper, weights=weights, iterations=_STEPS, tolerance=_SETTLED
    )


def _binned(
    model: SignalModel, known: dict[str, Tensor], voxels: int
) -> list[tuple[dict[str, float], Tensor | None]]:
    """Voxels by the bin of their known quantities: its centre, and their numbers (None for all)."""
    if not known:
        return [({}, None)]
    names = list(known)
    by_name: dict[str, Parameter] = {p.name: p for p in model.parameters}
    rounded = []
    for name in names:
        low, high = by_name[name].prior
        step = (high - low) / _BINS or 1.0
        centre = by_name[name].nominal or 0.0
        value = centre + ((known[name] - centre) / step).round() * step
        rounded.append(value.clamp(*by_name[name].bounds))
    values, which = torch.stack(rounded).unique(dim=1, return_inverse=True)
    return [
        (dict(zip(names, values[:, k].tolist(), strict=True)), (which == k).nonzero()[:, 0])
        for k in range(values.shape[1])
    ]


def _joined(parts: Sequence[tuple[Tensor | None, Solution]], voxels: int) -> Solution:
    if len(parts) == 1:
        return parts[0][1]
    order = torch.empty(voxels, dtype=torch.int64)
    order[torch.cat([index for index, _ in parts if index is not None])] = torch.arange(voxels)

    def join(of: Callable[[Solution], Tensor | None]) -> Tensor | None:
        pieces = [of(solution) for _, solution in parts]
        held = [piece for piece in pieces if piece is not None]
        return torch.cat(held, -1)[..., order] if held else None

    x = join(lambda s: s.x)
    assert x is not None
    places = [(i, j) for i in range(len(x)) for j in range(i + 1)]
    packed = join(lambda s: torch.stack([s.entry(i, j) for i, j in places]))
    residual, converged = join(lambda s: s.residual), join(lambda s: s.converged)
    assert packed is not None
    assert residual is not None
    assert converged is not None
    return PackedSolution.of(
        x,
        packed,
        residual,
        converged,
        fixed=join(lambda s: s.fixed),
        at_bound=join(lambda s: s.at_bound),
    )


def _real(rows: Tensor) -> Tensor:
    """Complex rows as real ones, real and imaginary parts in turn."""
    return torch.view_as_real(rows).flatten(1) if rows.is_complex() else rows


def _unit_rows(rows: Tensor) -> Tensor:
    return rows / rows.abs().square().sum(1, keepdim=True).sqrt().clamp_min(1e-300)
