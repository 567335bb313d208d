"""The contract of every signal model, and the pieces that solvers may ask of it."""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from fastqmri.core import Acquisition, Parameter
from fastqmri.solvers.solution import Solution

BOUND_TOLERANCE = 1e-6
_ATOMS = 2048


@dataclass(frozen=True)
class Derived:
    """A quantity computed from the parameters (R1 from T1, FA from the tensor).

    Attributes:
        parameter: name and unit.
        evaluate: (parameter, voxel) -> value (voxel) and its gradient (parameter, voxel), for the
            propagation of standard deviations.
    """

    parameter: Parameter
    evaluate: Callable[[Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Separable:
    """A model that is linear but for one parameter: y = c + a φ(θ), the constant c optional.

    Such models have much faster solvers than the general one (variable projection).

    Attributes:
        kind: ``exponential``, φ_j = exp(-θ t_j), or ``rational``, φ_j = s_j / (1 - θ c_j).
        abscissa: (1, contrast) t_j, or (2, contrast) nominal angles' s_j, c_j (see ``angles``).
        constant: whether c is fitted.
        bounds: of θ.
        to_parameters: z = ([c,] a, θ) as (rows, voxel) -> parameters x and ∂x/∂z, (parameter, row, voxel).
        angles: (contrast,) nominal angles where φ depends on a voxel's known scale (B1+): s = sin, c = cos.
        scale: name of that known scale.
    """

    kind: str
    abscissa: Tensor
    constant: bool
    bounds: tuple[float, float]
    to_parameters: Callable[[Tensor], tuple[Tensor, Tensor]]
    angles: Tensor | None = None
    scale: str | None = None


@dataclass(frozen=True)
class LogLinear:
    """A model whose logarithm is linear: signal = exp(X β).

    Attributes:
        design: X, (contrast, row), its columns of similar size.
        to_parameters: β (row, voxel) -> parameters x and ∂x/∂β, (parameter, row, voxel).
        one_by_one: where each parameter depends on its own β alone, the same with just ∂x_i/∂β_i, (row, voxel).
    """

    design: Tensor
    to_parameters: Callable[[Tensor], tuple[Tensor, Tensor]]
    one_by_one: Callable[[Tensor], tuple[Tensor, Tensor]] | None = None

    def parameters_of(self, beta: Solution) -> Solution:
        """A solution in β as one in the parameters."""
        if self.one_by_one is not None:
            return beta.scaled(*self.one_by_one(beta.x))
        return beta.transformed(*self.to_parameters(beta.x))


class SignalModel(nn.Module, ABC):
    """A in y = A(x, t): parameters to contrasts, voxel by voxel.

    Subclasses are final. The first parameter is an amplitude; the signal is proportional to the amplitudes together
    (those of arbitrary unit).

    Attributes:
        acquisition: what the scanner was told.
        parameters: x, in the order of the parameter axis.
        title: in words.
        equation: the formula that `forward` evaluates, in plain text; tested against it.
        references: keys of `fastqmri.core.references`.
        derived: quantities computed from the parameters.
        complex_valued: whether the signal is complex.
        non_negative: whether the signal can't be negative, so that a sample <= 0 is no measurement.
        may_be_constant: whether tissue exists whose samples are all equal; elsewhere such samples are no measurement.
    """

    title: ClassVar[str]
    equation: str
    parameters: tuple[Parameter, ...]  # type: ignore[assignment]  # tissue parameters, not weights: a model has none
    references: ClassVar[tuple[str, ...]] = ()

    def __init__(self, acquisition: Acquisition, parameters: tuple[Parameter, ...]) -> None:
        super().__init__()
        self.acquisition = acquisition
        self.parameters = parameters
        self.derived: tuple[Derived, ...] = ()
        self.complex_valued = False
        self.non_negative = True
        self._dictionaries: dict[tuple[torch.dtype, torch.device, Acquisition], tuple[Tensor, Tensor]] = {}
        self.may_be_constant = False

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Signal (contrast, *voxels) of parameters ``x`` (parameter, *voxels)."""

    @abstractmethod
    def jacobian(self, x: Tensor) -> Tensor:
        """∂signal/∂x, (contrast, parameter, *voxels)."""

    def evaluate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Signal and Jacobian together; models override it where they share work."""
        return self.forward(x), self.jacobian(x)

    def evaluate_estimated(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Signal, and its derivatives by the estimated parameters only, (contrast, estimated, *voxels)."""
        signal, jacobian = self.evaluate(x)
        return signal, jacobian[:, list(self.estimated)]

    def separable(self) -> Separable | None:
        """The model as a separable one, where it is."""
        return None

    def log_linear(self, known: Mapping[str, Tensor] | None = None) -> LogLinear | None:
        """The model as the exponential of a linear one, where it is, with maps (voxel) of the known parameters."""
        return None

    def examine(self, data: Tensor) -> None:
        """Refuse images that as a whole contradict the acquisition (two of them swapped).

        Args:
            data: (contrast, voxel) finite samples inside the mask.

        Raises:
            DataError: they do.
        """

    def signed(self) -> SignalModel | None:
        """The model of which this one is the absolute value, where polarity was lost in the images."""
        return None

    @property
    def estimated(self) -> tuple[int, ...]:
        """Indices of the parameters that a fit estimates (those without a nominal value)."""
        return tuple(i for i, p in enumerate(self.parameters) if p.nominal is None)

    @property
    def unknowns(self) -> int:
        """Real numbers that a fit finds in a voxel: what the samples have to outnumber."""
        return len(self.estimated)

    def complete(self, estimated: Tensor, known: Mapping[str, Tensor]) -> Tensor:
        """All parameters from the estimated ones, (estimated, voxel), and maps (voxel) of the known ones."""
        if len(estimated) == len(self.parameters):
            return estimated
        rows = iter(estimated)
        return torch.stack(
            [
                next(rows)
                if p.nominal is None
                else known[p.name].to(estimated)
                if p.name in known
                else torch.full_like(estimated[0], p.nominal)
                for p in self.parameters
            ]
        )

    def derive(self, x: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Values (voxel) and gradients (parameter, voxel) of all derived quantities at x (parameter, voxel).

        Models override it where their derived quantities share work.
        """
        return [derived.evaluate(x) for derived in self.derived]

    def start(self, data: Tensor, weights: Tensor | None = None) -> Tensor:
        """Starting values (parameter, voxel) for a fit to ``data`` (contrast, voxel).

        Here: the best match in a small dictionary over the priors of all parameters but the amplitude.

        Args:
            data: unusable samples set to zero.
            weights: (contrast, voxel), zero for unusable samples; None where all can be used.
        """
        key = data.real.dtype, data.device, self.acquisition
        if key not in self._dictionaries:  # every chunk of a volume starts from the same one
            with torch.no_grad():
                self._dictionaries[key] = self._dictionary(data)
        atoms, points = self._dictionaries[key]
        power = atoms.abs() ** 2
        norm = (
            (power.sum(0)[:, None] if weights is None else power.T @ weights.to(power))
            .clamp_min(1e-300)
            .sqrt()
        )
        used = data if weights is None else data * weights.to(power)
        overlap = atoms.T.conj() @ used.to(atoms.dtype)
        score = (overlap.abs() if atoms.is_complex() else overlap) / norm
        best = score.argmax(0)
        x = points[:, best].clone()
        chosen = norm.expand_as(score).gather(0, best[None])[0]
        x[0] = score.gather(0, best[None])[0] / chosen
        return self._clamp(x)

    def _dictionary(self, data: Tensor) -> tuple[Tensor, Tensor]:
        free = [i for i in self.estimated if i]
        count = max(3, min(64, int(_ATOMS ** (1 / max(len(free), 1)))))
        axes = [_grid(self.parameters[i].prior, count) for i in free]
        points = torch.tensor(list(itertools.product(*axes)), dtype=torch.float64).T
        x = torch.ones(len(self.parameters), points.shape[1], dtype=torch.float64)
        for row, i in enumerate(free):
            x[i] = points[row]
        for i, p in enumerate(self.parameters):
            if p.nominal is not None:
                x[i] = p.nominal
        x = x.to(data.real.dtype)
        return self.forward(x), x

    def _clamp(self, x: Tensor) -> Tensor:
        """Move values strictly inside the bounds."""
        lower, upper = self.bounds(x)
        return torch.minimum(torch.maximum(x, lower), upper)

    def bounds(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Lower and upper bounds, (parameter, 1, …), broadcastable to ``like`` (parameter, *voxels)."""
        shape = (len(self.parameters),) + (1,) * (like.ndim - 1)
        lower, upper = (
            torch.tensor([p.bounds[k] for p in self.parameters], dtype=like.dtype, device=like.device)
            for k in (0, 1)
        )
        return lower.view(shape), upper.view(shape)

    def _times(self, name: str, x: Tensor) -> Tensor:
        """A field of the acquisition shaped (contrast, 1, …) to broadcast against x[i]."""
        return self.acquisition.tensor(name, like=x).view((-1,) + (1,) * (x.ndim - 1))


def _grid(prior: tuple[float, float], count: int) -> list[float]:
    low, high = prior
    steps = [i / (count - 1) for i in range(count)]
    if low > 0 and high / low > 5:
        return [math.exp(math.log(low) + s * math.log(high / low)) for s in steps]
    return [low + s * (high - low) for s in steps]


def log_start(structure: LogLinear, data: Tensor, weights: Tensor | None) -> Tensor:
    """Parameters from ordinary least squares of the logarithms; unusable samples count as the weakest usable one."""
    if weights is not None:
        weakest = torch.where(weights > 0, data, torch.full_like(data, torch.inf)).amin(0)
        data = torch.where(weights > 0, data, weakest)
    inverse = torch.linalg.pinv(structure.design).to(data)
    return structure.to_parameters(inverse @ data.clamp_min(1e-4).log())[0]


def inverse_of(name: str, unit: str, index: int, rows: int, description: str) -> Derived:
    """The reciprocal of one parameter (R1 of T1)."""

    def evaluate(x: Tensor) -> tuple[Tensor, Tensor]:
        gradient = torch.zeros((rows, *x.shape[1:]), dtype=x.dtype, device=x.device)
        gradient[index] = -1 / x[index] ** 2
        return 1 / x[index], gradient

    return Derived(Parameter(name, unit, (0.0, math.inf), (0.0, math.inf), description), evaluate)
