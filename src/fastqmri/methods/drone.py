"""DRONE: T1 and T2 from fingerprints by a small perceptron, M0 by least squares. Type 1 (Cohen 2018)."""

from __future__ import annotations

import functools
import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from fastqmri.core import Fingerprinting, Progress
from fastqmri.estimators.grid import Axis
from fastqmri.learning.cards import Card
from fastqmri.learning.evaluation import Result
from fastqmri.learning.imperfections import Noise
from fastqmri.learning.priors import LogUniform, Uniform
from fastqmri.learning.recipe import Recipe, TrainingSettings
from fastqmri.learning.simulation import draw_voxels
from fastqmri.learning.validity import Validity, described
from fastqmri.learning.voxelwise_evaluation import Trial, compare
from fastqmri.learning.voxelwise_inference import (
    FINISHING,
    CheckedNetwork,
    Scaled,
    VoxelNetwork,
    voxelwise_network,
)
from fastqmri.physics.spins import FingerprintingSignal
from fastqmri.physics.spins.schedules.fingerprinting import drone_25, irfisp_1000
from fastqmri.solvers import subspace

TRAINED: dict[str, tuple[float, float]] = {"T1": (0.1, 4.0), "T2": (0.01, 0.6)}
TESTED: dict[str, tuple[float, float]] = {"T1": (0.2, 3.5), "T2": (0.02, 0.4)}
_BELOW = (("T2", "T1"),)
_SNR = (15.0, 5000.0)
_NEAR_ZERO = 0.003  # below such an error in a logarithm the loss is quadratic
_EXAMPLES = 2048


@dataclass(frozen=True)
class Voxels:
    """A batch.

    Attributes:
        signals: (voxel, contrast), or (voxel, direction) where they are projected already.
        target: (voxel, output) as the network scales it.
    """

    signals: Tensor
    target: Tensor


class Drone(Recipe):
    """What both schedules share; see `Drone25` and `DroneIrFisp`.

    Magnitudes with Rician noise of an SNR (RMS of the signals over the noise of a real channel) of 15 to 5000. Half of
    the voxels are drawn evenly, half by logarithms. The loss is the relative error, by its amount.

    Source: Cohen 2018; narrower layers, logarithmic targets and the projection on singular vectors are our choice.
    """

    quantities = ("T1", "T2", "M0")
    data = "voxels drawn at random, simulated by extended phase graphs"
    directions: ClassVar[int]
    widths: ClassVar[tuple[int, ...]]
    pool: ClassVar[tuple[int, int] | None] = None
    """Voxels simulated once, and noises drawn for each, where fresh ones at every step would take too long."""
    axes: ClassVar[Mapping[str, Axis]]
    """Of the dictionary that it is compared with."""
    voxels: ClassVar[int] = 1000
    """Drawn for every seed of an evaluation."""

    @functools.cached_property
    def model(self) -> FingerprintingSignal:
        """A: magnitudes."""
        return FingerprintingSignal(self.acquisition())

    @abstractmethod
    def acquisition(self) -> Fingerprinting:
        """The schedule."""

    def network(self) -> VoxelNetwork:
        """Projection on singular vectors of the signals, norm, perceptron."""
        return self._around(self._examples)

    def skeleton(self) -> VoxelNetwork:
        """Without singular vectors, which would have to be simulated for."""
        return self._around(torch.zeros(self.acquisition().contrasts, self.directions))

    def _around(self, projection: Tensor) -> VoxelNetwork:
        outputs = [Scaled(name, *limits, logarithmic=True) for name, limits in TRAINED.items()]
        return VoxelNetwork(projection, outputs, self.widths, adapt=self.pool is None)

    def draw(self, generator: torch.Generator, count: int) -> Voxels:
        """Fresh voxels with fresh noise, or a choice from the pool."""
        if self.pool is None:
            return self._simulated(generator, count)
        chosen = torch.randint(len(self._pool.target), (count,), generator=generator)
        return Voxels(self._pool.signals[chosen], self._pool.target[chosen])

    def loss(self, network: nn.Module, batch: Voxels, share: float) -> dict[str, Tensor]:
        """Amount of the relative errors."""
        assert isinstance(network, VoxelNetwork)
        found = network(batch.signals) if self.pool is None else network.of_directions(batch.signals)
        spans = torch.tensor([scaled.span for scaled in network.outputs], device=found.device)
        error = (found - batch.target) * spans
        return {"relative": nn.functional.smooth_l1_loss(error, torch.zeros_like(error), beta=_NEAR_ZERO)}

    def score(self, network: nn.Module) -> float:
        """Mean relative error (percent) of T1 and T2 on voxels of a seed of its own, at SNR ∞, 100 and 40."""
        assert isinstance(network, VoxelNetwork)
        predict = network.predictor()
        errors = []
        for trial in self._tuning:
            found = predict(trial.data, {})
            wanted = torch.stack([trial.x[1], trial.x[2]])
            errors.append(float(((found - wanted) / wanted).abs().mean()))
        network.train()
        return 100 * sum(errors) / len(errors)

    def validity(self) -> Validity:
        """This schedule, this tissue, B1 as it should be."""
        return Validity(
            acquisition=described(self.acquisition()),
            tissue=TRAINED,
            snr=(30.0, 1e5),
            known={"B1": (0.95, 1.05)},
        )

    def evaluate(
        self, network: nn.Module, card: Card, *, seeds: int = 3, progress: Progress | None = None
    ) -> list[Result]:
        """Mean percent errors beside matching, least squares and the Cramér-Rao bound; shifts of what was trained."""
        assert isinstance(network, VoxelNetwork)
        return compare(
            self.name,
            self.model,
            network,
            self.cases,
            self.axes,
            seeds=seeds,
            voxels=self.voxels,
            progress=progress,
        )

    def build(self, network: nn.Module, card: Card, **options: Any) -> CheckedNetwork:
        """An estimator that looks at its card first; options are ``model`` and those of `voxelwise_network`."""
        assert isinstance(network, VoxelNetwork)
        options.setdefault("finishing", FINISHING if card.finishing is None or card.finishing.default else 0)
        model = options.pop("model", self.model)
        return CheckedNetwork(card, voxelwise_network(model, network, self.name, **options))

    @property
    def cases(self) -> dict[str, Trial]:
        """What `evaluate` tries."""
        far = {"T1": (3.5, 5.0), "T2": (0.6, 1.5)}
        return {
            "noiseless": Trial(TESTED, math.inf),
            **{f"SNR {snr}": Trial(TESTED, snr) for snr in (100, 40, 20)},
            "shift: SNR 10": Trial(TESTED, 10),
            "shift: T1 3.5 to 5 s, T2 0.6 to 1.5 s, SNR 100": Trial(far, 100),
            "shift: B1 0.9, SNR 100": Trial(TESTED, 100, {"B1": 0.9}),
            "shift: inversion efficiency 0.95, SNR 100": Trial(TESTED, 100, {"inversion_efficiency": 0.95}),
        }

    def _simulated(self, generator: torch.Generator, count: int) -> Voxels:
        half = count // 2
        parts = [
            draw_voxels(prior, self.model, None, Noise(_SNR, "rician", "rms"), generator, size)
            for prior, size in ((Uniform(TRAINED, _BELOW), half), (LogUniform(TRAINED, _BELOW), count - half))
        ]
        x = torch.cat([part.truth for part in parts], 1)
        target = [
            Scaled(n, *TRAINED[n], logarithmic=True).to_unit(row)
            for n, row in zip(TRAINED, x[1:3], strict=True)
        ]
        return Voxels(torch.cat([part.signals for part in parts], 1).T.contiguous(), torch.stack(target, 1))

    @functools.cached_property
    def _examples(self) -> Tensor:
        """Singular vectors (contrast, direction) of noiseless signals of unit norm."""
        generator = torch.Generator().manual_seed(1)
        tissue = LogUniform(TRAINED, _BELOW)
        signals = draw_voxels(tissue, self.model, None, None, generator, _EXAMPLES).signals.T.double()
        return subspace.principal(signals / signals.norm(dim=1, keepdim=True))[0][:, : self.directions]

    @functools.cached_property
    def _pool(self) -> Voxels:
        """Simulated once, by a seed that no other draw has; noise is in, and the projection done."""
        assert self.pool is not None
        generator = torch.Generator().manual_seed(2)
        voxels, noises = self.pool
        noise, directions = Noise(_SNR, "rician", "rms"), self._examples.float()
        signals, targets = [], []
        for prior in (Uniform(TRAINED, _BELOW), LogUniform(TRAINED, _BELOW)):
            for _ in range(max(1, voxels // (2 * _EXAMPLES))):
                clean = draw_voxels(prior, self.model, None, None, generator, _EXAMPLES)
                size = clean.signals.square().mean(0).sqrt()
                target = torch.stack(
                    [
                        Scaled(n, *TRAINED[n], logarithmic=True).to_unit(clean.truth[i])
                        for i, n in enumerate(TRAINED, 1)
                    ],
                    1,
                )
                for _ in range(noises):
                    drawn = noise.draw(tuple(clean.signals.shape), generator).values
                    white = drawn["white"] * (size / drawn["snr"])
                    noisy = torch.hypot(clean.signals + white[0], white[1])
                    signals.append((directions.T @ noisy).T)
                    targets.append(target)
        return Voxels(torch.cat(signals), torch.cat(targets))

    @functools.cached_property
    def _tuning(self) -> list[Any]:
        return [
            Trial(TESTED, snr).draw(self.model, torch.Generator().manual_seed(100 + i), _EXAMPLES)
            for i, snr in enumerate((math.inf, 100, 40))
        ]


def _steps(*spans: tuple[float, float, float]) -> Tensor:
    """Values in s from spans (first, step, last) in ms."""
    return (
        torch.cat([torch.arange(a, b + step / 2, step, dtype=torch.float64) for a, step, b in spans]) / 1000
    )


@final
class Drone25(Drone):
    """25 images in 1.3 s; compared with 79 900 atoms."""

    name = "drone-25"
    title = "T1, T2 and M0 from a fingerprint of 25 images (schedule drone-25)"
    settings = TrainingSettings(steps=24_000, batch=1000, learning_rate=5e-3, validate_every=2000)
    directions, widths = 16, (32, 32)
    axes: ClassVar[Mapping[str, Axis]] = {"T1": _steps((11, 10, 4991)), "T2": _steps((1, 10, 1991))}

    def acquisition(self) -> Fingerprinting:
        """The schedule."""
        return drone_25()


@final
class DroneIrFisp(Drone):
    """1000 images of the IR-FISP schedule."""

    name = "drone-irfisp"
    title = "T1, T2 and M0 from a fingerprint of 1000 images (schedule irfisp-1000)"
    settings = TrainingSettings(steps=20_000, batch=1000, learning_rate=5e-3, validate_every=2000)
    directions, widths = 16, (48, 48)
    pool = (80_000, 6)
    voxels = 300
    axes: ClassVar[Mapping[str, Axis]] = {
        "T1": _steps((20, 10, 3000), (3200, 200, 5000)),
        "T2": _steps((10, 5, 300), (310, 20, 490), (500, 100, 2000)),
    }

    def acquisition(self) -> Fingerprinting:
        """The schedule."""
        return irfisp_1000()
