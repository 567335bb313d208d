"""DOPAMINE: T1 or T2 from undersampled k-space by an unrolled network (type 4)."""

from __future__ import annotations

import functools
import math
import os
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from fastqmri.core import Measurement, MultiEchoSpinEcho, Progress, VariableFlipAngle
from fastqmri.learning.cards import Card
from fastqmri.learning.evaluation import Result
from fastqmri.learning.kspace_evaluation import kspace_results
from fastqmri.learning.kspace_inference import Found, KSpaceInference, admitted
from fastqmri.learning.networks.unrolled import Unrolled, UnrolledNetwork, UnrolledSettings
from fastqmri.learning.pools import PhantomPool
from fastqmri.learning.recipe import Recipe, TrainingSettings
from fastqmri.learning.sampling import CoilBank, MaskBank, Sampler, VariableDensityLines
from fastqmri.learning.simulation import KSpaceBatch, KSpaceDraws, lines_last
from fastqmri.learning.subspace_batch import SubspaceBatch
from fastqmri.learning.validity import Validity, described
from fastqmri.physics.signal import ExponentialDecay, SignalModel, SpoiledGradientEcho

_MATRIX = (64, 64)
_ACCELERATIONS = (4.0, 5.0, 6.0, 7.0, 8.0, 9.0)
_SNR = (25.0, 100.0)
_B1 = (0.8, 1.2)
_MAPPING_SHARE = 0.08
"""Of the training, in which only the network that corrects the start learns."""
_EARLIER = 0.1
_REFERENCES = ("jun2021", "zhu2023")


class _Dopamine(Recipe):
    """What both quantities share.

    Attributes:
        model: A.
        ranges: parameter -> values that training has.
        knee: values above count by their logarithm, so that fluid does not outweigh tissue.
    """

    model: ClassVar[SignalModel]
    ranges: ClassVar[Mapping[str, tuple[float, float]]]
    knee: ClassVar[float]
    settings = TrainingSettings(steps=2200, batch=4, learning_rate=1e-3, warm_up=0.03, validate_every=70)
    data = "Textured ellipses, slices of digital brains (brainweb-04, mni152); masks, coils, noise fresh each step."

    def __init__(self, design: UnrolledSettings | None = None, phantoms: int = 100) -> None:
        super().__init__()
        self.design, self.phantoms = design or UnrolledSettings(), phantoms

    def network(self) -> nn.Module:
        """Cascades of a residual network and conjugate gradient steps."""
        return UnrolledNetwork(self.model, self.design, self.ranges)

    @abstractmethod
    def sampler(self, generator: torch.Generator) -> Sampler:
        """Draws masks."""

    @functools.cached_property
    def _draws(self) -> KSpaceDraws:
        return self._make("training", self.phantoms, _SNR, 11)

    @functools.cached_property
    def _tuning(self) -> list[KSpaceBatch]:
        draws = self._make("tuning", 6, (60.0, 60.0), 12)
        generator = torch.Generator().manual_seed(13)
        return [lines_last(draws.draw(6, generator)) for _ in range(2)]

    def _make(self, split: str, count: int, snr: tuple[float, float], seed: int) -> KSpaceDraws:
        g = torch.Generator().manual_seed(seed)
        names = ("M0", self.quantities[-1], *(("B1",) if self.quantities[-1] == "T1" else ()))
        wide = 0.25 if split == "training" else 0.05
        sharp = PhantomPool.of(
            split, _MATRIX, ellipses=count, generator=g, names=names, supersampling=1, b1=_B1
        )
        folder = os.environ.get("FASTQMRI_TEST_DATA")
        brains = PhantomPool.of(
            split, _MATRIX, brains=count, generator=g, names=names, b1=_B1, data=folder, variation=wide
        )
        pool = brains.joined(sharp)
        coils = CoilBank.of(_MATRIX, (4, 6) if split == "training" else (4,), generator=g)
        return KSpaceDraws(pool, self.model, self.sampler(g), coils, snr, smooth_phase=0.0)

    def draw(self, generator: torch.Generator, count: int) -> KSpaceBatch:
        """Undersampled k-space of the pool's objects, lines along the last axis."""
        return lines_last(self._draws.draw(count, generator))

    def loss(self, network: nn.Module, batch: KSpaceBatch, share: float) -> dict[str, Tensor]:
        """Relative errors of the parameter and of the complex amplitude, the last step's above all."""
        assert isinstance(network, UnrolledNetwork)
        out = network(_reduced(network, batch), batch.known, 0 if share < _MAPPING_SHARE else None)
        inside = batch.mask.float()
        row = [p.name for p in self.model.parameters].index(self.quantities[-1])
        truth = self._compressed(torch.where(batch.mask, batch.x[:, row], 1.0))
        amplitude = batch.x[:, 0] * out.phase.conj() / out.scale.view(-1, 1, 1)
        total: dict[str, Tensor] = {self.quantities[-1]: torch.zeros(()), "M0": torch.zeros(())}
        for step, v in enumerate(out.v):
            weight = 1.0 if step == len(out.v) - 1 else _EARLIER
            value = self._compressed(out.parameters(step)[1])
            away = (value / truth).log().abs() * inside
            errors = _relative(value - truth, truth, inside) + 0.3 * away.flatten(1).sum(1) / inside.flatten(
                1
            ).sum(1)
            total[self.quantities[-1]] = total[self.quantities[-1]] + weight * errors.mean()
            moved = _relative((out.unknowns.amplitude(v) - amplitude).abs(), amplitude.abs(), inside)
            total["M0"] = total["M0"] + 0.1 * weight * moved.mean()
        return total

    def score(self, network: nn.Module) -> float:
        """Mean nRMSE on the tuning part at SNR 60, values above the knee by their logarithm."""
        assert isinstance(network, UnrolledNetwork)
        row = [p.name for p in self.model.parameters].index(self.quantities[-1])
        errors = []
        with torch.no_grad():
            for batch in self._tuning:
                out = network(_reduced(network, batch), batch.known)
                truth = self._compressed(torch.where(batch.mask, batch.x[:, row], 1.0))
                found = self._compressed(out.parameters()[1])
                errors.append(_relative(found - truth, truth, batch.mask.float()).mean())
        return float(torch.stack(errors).mean())

    def _compressed(self, value: Tensor) -> Tensor:
        return torch.where(
            value < self.knee, value, self.knee * (1 + (value.clamp_min(1e-6) / self.knee).log())
        )

    def validity(self) -> Validity:
        """The protocol, the tissue, SNR and acceleration of the training."""
        return Validity(
            acquisition=described(self.model.acquisition),
            tissue=dict(self.ranges),
            snr=_SNR,
            acceleration=(_ACCELERATIONS[0], _ACCELERATIONS[-1]),
            matrix=(48.0, 96.0),
            coils=(2.0, 16.0),
            known={"B1": (0.7, 1.3)} if self.quantities[-1] == "T1" else {},
        )

    def evaluate(
        self, network: nn.Module, card: Card, *, seeds: int = 3, progress: Progress | None = None
    ) -> list[Result]:
        """Held-out ellipses and brains beside the mapping network alone and the model-based reconstruction."""
        assert isinstance(network, UnrolledNetwork)
        methods = {
            self.name: inference(network, self.model, card),
            "mapping network alone": inference(network, self.model, card, cascades=0),
        }
        return kspace_results(self.model, methods, seeds=seeds, progress=progress)

    def build(self, network: nn.Module, card: Card, **options: Any) -> KSpaceInference:
        """The network as an estimator.

        Args:
            network: trained.
            card: of its weights.
            **options: ``finishing``, instead of what the card does by default; ``model`` of the acquisition as it was
                made, close to the trained one.
        """
        assert isinstance(network, UnrolledNetwork)
        own = card.finishing.steps if card.finishing and card.finishing.default else 0
        steps = options.get("finishing")
        model = options.get("model") or self.model
        return inference(
            network,
            model,
            card,
            finishing=own if steps is None else steps,
            admitted=functools.partial(admitted, card),
        )


def inference(
    network: UnrolledNetwork,
    model: SignalModel,
    card: Card,
    *,
    cascades: int | None = None,
    finishing: int = 0,
    admitted: Callable[[Measurement], tuple[str, ...]] | None = None,
) -> KSpaceInference:
    """An unrolled network as an estimator.

    Args:
        network: trained.
        model: as the measurement's images hold it.
        card: of the network.
        cascades: how many to run; all if None.
        finishing: Gauss-Newton steps afterwards.
        admitted: looks at a measurement before it is mapped.
    """
    return KSpaceInference(
        lambda measurements, noise: _found(network, measurements, noise, cascades),
        model,
        card.expected_error,
        card.validity.tissue,
        finishing,
        card.name,
        card.references,
        card.notes,
        admitted,
    )


def _found(
    network: UnrolledNetwork,
    measurements: Sequence[Measurement],
    noise: Sequence[float],
    cascades: int | None,
) -> list[Found]:
    known = {
        name: torch.stack([m.known[name].float() for m in measurements]) for name in measurements[0].known
    }
    batch = SubspaceBatch.of(measurements, network.basis, noise)
    lines = batch.single_axis == 0
    if lines:
        batch, known = batch.transposed(), {name: value.mT for name, value in known.items()}
    out: Unrolled = network(batch, known, cascades)
    return out.found(network.basis, transposed=lines)


def _reduced(network: UnrolledNetwork, batch: KSpaceBatch) -> SubspaceBatch:
    voxels = batch.kspace.shape[3:]
    masks = batch.sampling.expand(*batch.sampling.shape[:2], *voxels)
    return SubspaceBatch.cartesian(batch.kspace, batch.sensitivities, masks, network.basis, batch.noise)


def _relative(error: Tensor, truth: Tensor, inside: Tensor) -> Tensor:
    """||error|| / ||truth|| of every sample."""
    sizes = [((x * inside).square().flatten(1).sum(1) + 1e-12).sqrt() for x in (error, truth)]
    return sizes[0] / sizes[1]


@final
class DopamineT1(_Dopamine):
    """T1 from six flip angles, both phase encodings undersampled."""

    name: ClassVar[str] = "dopamine-t1"
    title: ClassVar[str] = "DOPAMINE: T1 and M0 from 6 undersampled flip angles"
    quantities: ClassVar[tuple[str, ...]] = ("M0", "T1")
    model = SpoiledGradientEcho(
        VariableFlipAngle(
            flip_angle=tuple(math.radians(a) for a in (3, 5, 8, 11, 15, 20)), repetition_time=0.0052
        )
    )
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {"T1": (0.2, 5.5)}
    knee = 3.0

    def sampler(self, generator: torch.Generator) -> Sampler:
        """Poisson discs."""
        return MaskBank.poisson(_MATRIX, _ACCELERATIONS, generator=generator, masks=24)


@final
class DopamineT2(_Dopamine):
    """T2 from eight spin echoes, lines undersampled."""

    name: ClassVar[str] = "dopamine-t2"
    title: ClassVar[str] = "DOPAMINE: T2 and M0 from 8 undersampled echoes"
    quantities: ClassVar[tuple[str, ...]] = ("M0", "T2")
    model = ExponentialDecay(
        MultiEchoSpinEcho(echo_time=(0.007, 0.016, 0.025, 0.034, 0.043, 0.052, 0.062, 0.071))
    )
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {"T2": (0.008, 3.0)}
    knee = 0.12

    def sampler(self, generator: torch.Generator) -> Sampler:
        """Lines of random density."""
        return VariableDensityLines(_ACCELERATIONS)
