"""Networks for single voxels at run time: as solvers of the voxel-wise frame, finished by the physics."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from fastqmri.core import AcquisitionError, DataError, Flag, Measurement, ParameterMaps
from fastqmri.estimators.grid import amplitudes
from fastqmri.estimators.judgement import flagged
from fastqmri.estimators.least_squares import solve_general
from fastqmri.estimators.voxelwise import CHUNK, Voxelwise
from fastqmri.learning.cards import Card
from fastqmri.learning.networks.mlp import MLP
from fastqmri.learning.validity import judge, refuse_outside
from fastqmri.physics.signal import SignalModel
from fastqmri.solvers.levenberg_marquardt import levenberg_marquardt
from fastqmri.solvers.linear import inverse, products
from fastqmri.solvers.solution import Solution, symmetric

FINISHING = 10
_SETTLED = 1e-4
_CACHE = 1 << 18  # numbers of a block of voxels and its hidden layers that stay in a core's own cache
_EDGE = 1e-5


@dataclass(frozen=True)
class Scaled:
    """A quantity as networks see it: the trained range becomes -1 to 1.

    Attributes:
        name: of the parameter.
        low, high: ends of the range that training draws from, in the parameter's unit.
        logarithmic: equal ratios, not equal differences, become equal steps.
    """

    name: str
    low: float
    high: float
    logarithmic: bool = False

    def __post_init__(self) -> None:
        if not self.low < self.high or (self.logarithmic and not self.low > 0):
            raise DataError(
                f"a training range of {self.name} from {self.low:g} to {self.high:g}",
                "it is empty, or has no logarithm.",
                "Give low < high, both positive for a logarithmic scale.",
            )

    @property
    def span(self) -> float:
        """Derivative of the value (of its logarithm) by the network's number."""
        low, high = self._ends()
        return (high - low) / 2

    def to_unit(self, value: Tensor) -> Tensor:
        """-1 to 1 for values in the range."""
        low, high = self._ends()
        known = value.clamp_min(self.low * 1e-6).log() if self.logarithmic else value
        return (known - (low + high) / 2) / self.span

    def to_value(self, unit: Tensor) -> Tensor:
        """The quantity, in its unit."""
        low, high = self._ends()
        found = unit * self.span + (low + high) / 2
        return found.exp_() if self.logarithmic else found

    def outside(self, value: Tensor) -> Tensor:
        """Bool: at or over an end of the range."""
        margin = _EDGE * (self.high - self.low)
        low = self.low * (1 + _EDGE) if self.logarithmic else self.low + margin
        return (value <= low) | (value >= self.high - margin)

    def _ends(self) -> tuple[float, float]:
        return (math.log(self.low), math.log(self.high)) if self.logarithmic else (self.low, self.high)


@final
class VoxelNetwork(nn.Module):
    """Signals of a voxel, and what else is known of it, to parameters of its tissue.

    The signals are projected on a few directions, divided by their norm there (which forgets the amplitude), and
    given to a perceptron beside the known quantities.

    Args:
        projection: (contrast, direction), trained along with the perceptron if ``adapt``.
        outputs: parameters in the order of the perceptron's outputs.
        widths: of the hidden layers.
        known: quantities of `Measurement.known` that are inputs.
        normalise: divide by the norm; leave it out where the signals are ratios already.
        adapt: whether training may turn the directions.
        **options: of `MLP`.
    """

    def __init__(
        self,
        projection: Tensor,
        outputs: Sequence[Scaled],
        widths: Sequence[int],
        known: Sequence[Scaled] = (),
        *,
        normalise: bool = True,
        adapt: bool = True,
        **options: object,
    ) -> None:
        super().__init__()
        self.outputs, self.known, self.normalise = tuple(outputs), tuple(known), normalise
        self.projection = nn.Parameter(projection.detach().T.float().contiguous(), requires_grad=adapt)
        self.body = MLP(projection.shape[1] + len(self.known), widths, len(self.outputs), **options)  # type: ignore[arg-type]

    @property
    def contrasts(self) -> int:
        """Signals of a voxel."""
        return self.projection.shape[1]

    def forward(self, signals: Tensor, known: Tensor | None = None) -> Tensor:
        """Scaled parameters (voxel, output) of signals (voxel, contrast) and scaled known ones (voxel, known)."""
        return self.of_directions(signals @ self.projection.T, known)

    def of_directions(self, inside: Tensor, known: Tensor | None = None) -> Tensor:
        """As `forward`, for signals that are projected already, (voxel, direction)."""
        if self.normalise:
            inside = inside * len(self.projection) ** 0.5 / inside.norm(dim=1, keepdim=True).clamp_min(1e-30)
        found: Tensor = self.body(inside if known is None else torch.cat([inside, known], 1))
        return found

    def targets(self, x: Mapping[str, Tensor]) -> Tensor:
        """Scaled parameters (voxel, output) from maps (voxel)."""
        return torch.stack([scaled.to_unit(x[scaled.name]) for scaled in self.outputs], 1)

    def inputs(self, maps: Mapping[str, Tensor]) -> Tensor | None:
        """Scaled known quantities (voxel, known) from maps (voxel), or None where there are none."""
        if not self.known:
            return None
        return torch.stack([scaled.to_unit(maps[scaled.name]) for scaled in self.known], 1)

    def predictor(self, *, projected: bool = False) -> Callable[[Tensor, Mapping[str, Tensor]], Tensor]:
        """The network ready to run: signals (contrast, voxel) and known maps (voxel) to values (output, voxel).

        Single precision, in blocks that stay in the cache; values stop at the ends of the trained ranges.

        Args:
            projected: the signals to come are those of `projection` already, (direction, voxel).
        """
        run = self.body.eval().columns()
        projection = self.projection.detach()
        taken = len(projection) if projected else self.contrasts
        block = max(256, _CACHE // (2 * self.body.widest + taken) // 64 * 64)
        size, many = len(projection) ** 0.5, len(self.outputs)
        centre = torch.tensor([[(low + high) / 2] for low, high in (s._ends() for s in self.outputs)])
        span = torch.tensor([[s.span] for s in self.outputs])
        logarithmic = torch.tensor([s.logarithmic for s in self.outputs])

        @torch.no_grad()
        def predict(signals: Tensor, known: Mapping[str, Tensor]) -> Tensor:
            found = torch.empty(many, signals.shape[1])
            for begin in range(0, signals.shape[1], block):
                some = slice(begin, begin + block)
                part = signals[:, some].float()
                features = part if projected else projection @ part
                if self.normalise:
                    scale = torch.linalg.vector_norm(features, dim=0).clamp_min_(1e-30).reciprocal_()
                    features = features * scale.mul_(size)
                if self.known:
                    more = [s.to_unit(known[s.name][some].float()) for s in self.known]
                    features = torch.cat([features, torch.stack(more)])
                found[:, some] = run(features)
            torch.addcmul(centre, found.clamp_(-1, 1), span, out=found)
            if bool(logarithmic.all()):
                return found.exp_()
            found[logarithmic] = found[logarithmic].exp()
            return found

        return predict


@dataclass(frozen=True)
class NetworkSolve:
    """A solver of `Voxelwise` by a network.

    The amplitude, where the model has one, follows by least squares against the signal re-synthesised from the
    network's parameters. Covariances come from the model's Jacobian there (the Cramér-Rao bound), residuals from
    the re-synthesised signal. Voxels with samples left out go to non-linear least squares.

    Attributes:
        network: of this model's signals.
        finishing: Levenberg-Marquardt steps on the exact model that follow, at most.
    """

    widens: ClassVar = True
    network: VoxelNetwork
    finishing: int = FINISHING

    def __call__(
        self, model: SignalModel, data: Tensor, weights: Tensor | None, known: dict[str, Tensor]
    ) -> Solution:
        """Estimate a batch: data (contrast, voxel) to the model's estimated parameters."""
        amplitude = self._check(model, data)
        if weights is not None:
            return solve_general(model, data.double(), weights, known)
        values = self._predict(data, self._inputs(model, data, known))
        x = self._estimated(model, values)
        if self.finishing:
            return self._finished(model, data, x, amplitude, known)
        signal, jacobian = model.evaluate_estimated(model.complete(x, known))
        if amplitude is not None:
            size = _amplitude(signal, data)
            jacobian = jacobian * size
            jacobian[:, amplitude] = signal
            x[amplitude], signal = size, signal * size
        wide = jacobian.double()
        residual = (data - signal).square_().sum(0)
        covariance = inverse(symmetric(products(wide, wide), len(x)))
        return Solution(x, covariance, residual, torch.isfinite(x).all(0))

    def notes(self, model: SignalModel) -> tuple[str, ...]:
        """What the user should know."""
        if not self.finishing:
            return ("Network output as it is; standard deviations are Cramér-Rao bounds there.",)
        return (
            f"Network output followed by least-squares steps on the exact model, {self.finishing} at most.",
        )

    @functools.cached_property
    def _predict(self) -> Callable[[Tensor, Mapping[str, Tensor]], Tensor]:
        return self.network.predictor()

    def _inputs(self, model: SignalModel, data: Tensor, known: dict[str, Tensor]) -> dict[str, Tensor]:
        """Maps of the network's known inputs; nominal values where no map was given."""
        nominal = {p.name: p.nominal for p in model.parameters}
        return {
            s.name: known[s.name] if s.name in known else torch.full_like(data[0], nominal[s.name] or 0.0)
            for s in self.network.known
        }

    def _check(self, model: SignalModel, data: Tensor) -> int | None:
        """The index of the amplitude among the estimated parameters, or None; refuse what the network can't do."""
        names = [model.parameters[i].name for i in model.estimated]
        found = [s.name for s in self.network.outputs]
        missing = [name for name in names if name not in found]
        scales = [names.index(model.parameters[i].name) for i in amplitudes(model)]
        if (
            data.is_complex()
            or set(found) - set(names)
            or [names.index(n) for n in missing] != scales[: len(missing)]
        ):
            raise DataError(
                f"a network of {', '.join(found)} for {type(model).__name__} of {', '.join(names)}",
                "it estimates other parameters, or the model's signal is complex.",
                "Take the form of the model that the network was trained with, or method nlls.",
            )
        if len(missing) > 1 or data.shape[0] != self.network.contrasts:
            raise AcquisitionError(
                f"{data.shape[0]} images for a network trained with {self.network.contrasts}",
                "it knows one acquisition only.",
                "Train it for this acquisition, or take method nlls.",
            )
        return names.index(missing[0]) if missing else None

    def _estimated(self, model: SignalModel, values: Tensor) -> Tensor:
        """What the network found as the model's estimated parameters, inside their bounds; an amplitude is one."""
        rows = {s.name: value for s, value in zip(self.network.outputs, values, strict=True)}
        free = [model.parameters[i] for i in model.estimated]
        x = torch.stack([rows[p.name] if p.name in rows else torch.ones_like(values[0]) for p in free])
        for row, parameter in zip(x, free, strict=True):
            row.clamp_(*parameter.bounds)
        return x

    def _finished(
        self, model: SignalModel, data: Tensor, x: Tensor, amplitude: int | None, known: dict[str, Tensor]
    ) -> Solution:
        free = list(model.estimated)
        if amplitude is not None:
            with torch.no_grad():
                x[amplitude] = _amplitude(model(model.complete(x, known)), data)
        wide = data.double()
        lower, upper = (bound[free] for bound in model.bounds(model.complete(x.double(), known)))

        def evaluate(x: Tensor, active: Tensor) -> tuple[Tensor, Tensor]:
            return model.evaluate_estimated(model.complete(x, {k: v[active] for k, v in known.items()}))

        return levenberg_marquardt(
            evaluate, wide, x.double(), lower, upper, iterations=self.finishing, tolerance=_SETTLED
        )


def _amplitude(signal: Tensor, data: Tensor) -> Tensor:
    """Amplitude (voxel) by least squares."""
    return (signal * data).sum(0) / signal.square().sum(0).clamp_min(1e-30)


def voxelwise_network(
    model: SignalModel,
    network: VoxelNetwork,
    name: str,
    *,
    finishing: int = FINISHING,
    noise: str = "gaussian",
    chunk: int = CHUNK,
    progress: Callable[[int, int], None] | None = None,
) -> Voxelwise:
    """An estimator that runs a network in every voxel.

    Args:
        model: A and its acquisition.
        network: trained for it.
        name: of the method, for the records.
        finishing: least-squares steps that follow, at most; none gives the network's own numbers.
        noise: ``gaussian`` or ``rician``.
        chunk: voxels a batch.
        progress: called with (voxels done, voxels in all).
    """
    solve = NetworkSolve(network, finishing)
    return Voxelwise(
        model, solve, name, noise=noise, chunk=chunk, progress=progress, finish=flag_untrained(network)
    )


@final
@dataclass(frozen=True)
class CheckedNetwork:
    """A network in every voxel that looks at its card first. An `Estimator`.

    Attributes:
        card: of the weights.
        voxelwise: of `voxelwise_network`.
    """

    card: Card
    voxelwise: Voxelwise

    def estimate(self, measurement: Measurement) -> ParameterMaps:
        """Estimate the parameters of every voxel inside the mask; near the card's edge the notes say so.

        Raises:
            ValidityError: a measurement far from what the network was trained for.
            DataError: as `Voxelwise.estimate`.
        """
        judgement = judge(self.card.validity, measurement, snr=_brightness(measurement))
        notes = refuse_outside(self.card.name, judgement, self.card.classical)
        maps = self.voxelwise.estimate(measurement)
        return replace(maps, notes=maps.notes + notes)


def _brightness(measurement: Measurement) -> float | None:
    """Mean signal of the brightest contrast over the noise, where that was told."""
    if not measurement.noise:
        return None
    size = measurement.data.abs().flatten(1)
    if measurement.mask is not None:
        size = size[:, measurement.mask.flatten()]
    return float(size.nanmean(1).max()) / measurement.noise


def flag_untrained(
    network: VoxelNetwork,
) -> Callable[[ParameterMaps, Measurement, SignalModel], ParameterMaps]:
    """What marks voxels at and over the ends of a network's trained ranges, known quantities included."""

    def finish(maps: ParameterMaps, measurement: Measurement, model: SignalModel) -> ParameterMaps:
        far = torch.zeros_like(maps.flags, dtype=torch.bool)
        for scaled in network.outputs:
            far |= scaled.outside(maps[scaled.name].value)
        for scaled in network.known:
            if scaled.name in measurement.known:
                far |= scaled.outside(measurement.known[scaled.name])
        maps.flags.bitwise_or_(flagged(far & maps.estimated, Flag.OUTSIDE_TRAINING_RANGE))
        return maps

    return finish
