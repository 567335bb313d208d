"""The smallest recipes: a straight line from noisy points, and T2 of four echoes."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fastqmri.core import Measurement, MultiEchoSpinEcho
from fastqmri.estimators.least_squares import least_squares
from fastqmri.estimators.reconstruction import ModelBased
from fastqmri.learning.cards import Card, Finishing
from fastqmri.learning.evaluation import Result, relative_error
from fastqmri.learning.recipe import Recipe, TrainingSettings
from fastqmri.learning.training import CHECKPOINT, _generator, make_card, train
from fastqmri.learning.validity import Validity, described, judge, refuse_outside
from fastqmri.learning.voxelwise_inference import Scaled, VoxelNetwork, voxelwise_network
from fastqmri.learning.weights import write_card, write_weights
from fastqmri.methods import LearnedMethod, RecipeEntry
from fastqmri.physics.signal import ExponentialDecay


class Line(Recipe):
    """y = 2 x - 1.

    Args:
        scores: given instead of true ones.
        ranks: draws what so many processes would draw together.
    """

    name = "line"
    title = "A straight line"
    settings = TrainingSettings(steps=40, batch=8, learning_rate=0.05, validate_every=10)
    quantities = ("slope",)
    data = "random points"

    def __init__(self, scores: list[float] | None = None, ranks: int = 1) -> None:
        super().__init__()
        self.scores = scores
        self.ranks = ranks
        self.steps = 0
        self.seen: list[Tensor] = []

    def network(self) -> nn.Module:
        return nn.Linear(1, 1)

    def draw(self, generator: torch.Generator, count: int) -> tuple[Tensor, Tensor]:
        if self.ranks == 1:
            return self._points(generator, count)
        parts = [
            self._points(_generator(3, self.steps, rank), count // self.ranks) for rank in range(self.ranks)
        ]
        self.steps += 1
        return torch.cat([x for x, _ in parts]), torch.cat([y for _, y in parts])

    def _points(self, generator: torch.Generator, count: int) -> tuple[Tensor, Tensor]:
        x = torch.randn(count, 1, generator=generator)
        return x, 2 * x - 1 + 0.01 * torch.randn(count, 1, generator=generator)

    def loss(self, network: nn.Module, batch: Any, share: float) -> dict[str, Tensor]:
        assert 0 <= share < 1
        x, y = batch
        return {"squares": (network(x).float() - y).square().mean()}

    def score(self, network: nn.Module) -> float:
        assert not network.training
        self.seen.append(torch.cat([p.detach().flatten().clone() for p in network.parameters()]))
        if self.scores is not None:
            return self.scores[len(self.seen) - 1]
        x = torch.linspace(-1, 1, 11)[:, None]
        return float((network(x) - (2 * x - 1)).square().mean())

    def validity(self) -> Validity:
        return Validity()

    def evaluate(self, network: nn.Module, card: Card, **_: Any) -> list[Result]:
        value = float(next(network.parameters()))
        return [
            Result(
                case="all",
                method=self.name,
                quantity="slope",
                metric="nRMSE",
                unit="%",
                value=100 * abs(value / 2 - 1),
            )
        ]

    def build(self, network: nn.Module, card: Card, **_: Any) -> Any:
        return network


class Decay(Recipe):
    """T2 of four echoes, by a perceptron that is trained in a second."""

    name = "decay-4"
    title = "T2 and M0 from four spin echoes"
    settings = TrainingSettings(steps=300, batch=256, learning_rate=1e-2, validate_every=100)
    quantities = ("T2", "M0")
    data = "voxels drawn at random"
    echo_time: tuple[float, ...] = (0.01, 0.03, 0.06, 0.1)
    limits = (0.02, 0.3)

    @property
    def model(self) -> ExponentialDecay:
        return ExponentialDecay(MultiEchoSpinEcho(echo_time=self.echo_time))

    def network(self) -> nn.Module:
        return VoxelNetwork(
            torch.eye(len(self.echo_time)),
            [Scaled("T2", *self.limits, logarithmic=True)],
            (24, 24),
            adapt=False,
        )

    def draw(self, generator: torch.Generator, count: int) -> tuple[Tensor, Tensor]:
        low, high = self.limits
        t2 = low * (high / low) ** torch.rand(count, generator=generator)
        signals = torch.exp(-torch.tensor(self.echo_time) / t2[:, None])
        return signals + 0.002 * torch.randn(signals.shape, generator=generator), t2

    def loss(self, network: nn.Module, batch: Any, share: float) -> dict[str, Tensor]:
        signals, t2 = batch
        return {"T2": (network(signals) - network.targets({"T2": t2})).square().mean()}

    def score(self, network: nn.Module) -> float:
        return float(self.loss(network, self.draw(torch.Generator().manual_seed(5), 500), 0.5)["T2"])

    def validity(self) -> Validity:
        return Validity(
            acquisition=described(self.model.acquisition), tissue={"T2": self.limits}, matrix=(4, 64)
        )

    def evaluate(self, network: nn.Module, card: Card, *, seeds: int = 3, **_: Any) -> list[Result]:
        results = []
        for who, estimator in (
            (self.name, self.build(network, card, finishing=0)),
            ("nlls", least_squares(self.model)),
        ):
            errors = []
            for seed in range(seeds):
                signals, t2 = self.draw(torch.Generator().manual_seed(1000 + seed), 500)
                found = estimator.estimate(Measurement(signals.T.contiguous(), self.model.acquisition))[
                    "T2"
                ].value
                errors.append(relative_error(found, t2, torch.ones_like(t2, dtype=torch.bool)))
            results.append(Result.over("all", who, "T2", "nRMSE", "%", errors))
        return results

    def build(self, network: nn.Module, card: Card, **options: Any) -> Any:
        assert isinstance(network, VoxelNetwork)
        after = card.finishing.steps if card.finishing and card.finishing.default else 0
        options = {"finishing": after, **options}
        return voxelwise_network(options.pop("model", self.model), network, self.name, **options)


class DecaySlow(Decay):
    """The same for longer echo times."""

    name = "decay-slow"
    echo_time = (0.02, 0.06, 0.12, 0.2)


DECAY = LearnedMethod(
    "decay",
    "T2 and M0 from spin echoes, by a perceptron",
    1,
    "fit",
    ("zhu2023", "cohen2018"),
    (RecipeEntry("decay-4", "recipes:Decay", "mese"), RecipeEntry("decay-slow", "recipes:DecaySlow", "mese")),
    "fastqmri fit mese --method nlls",
)
"""A learned method for tests, registered by the fixture ``decay``."""


def train_decay(folder: Path, *recipes: Recipe) -> None:
    """Weights and cards in a folder."""
    for recipe in recipes:
        trained = train(recipe, folder / "checkpoints")
        sha256 = write_weights(folder, trained.network, recipe.name)
        card = make_card(
            recipe,
            trained,
            recipe.settings,
            method="decay",
            command=f"fastqmri train decay --recipe {recipe.name}",
            sha256=sha256,
            classical=DECAY.classical,
            references=DECAY.references,
            finishing=Finishing(steps=10, default=False, gain="nRMSE of T2 3 to 1 %"),
        )
        write_card(folder, card)
        (folder / "checkpoints" / CHECKPOINT).unlink()


@dataclass(frozen=True)
class _Unfolding:
    """Model-based reconstruction behind a card."""

    card: Card
    method: ModelBased

    def explain(self, measurement: Measurement) -> Any:
        notes = refuse_outside("unfold", judge(self.card.validity, measurement), self.card.classical)
        found = self.method.explain(measurement)
        return replace(found, maps=replace(found.maps, notes=(*found.maps.notes, *notes)))


class Unfold(Decay):
    """From k-space to T2; what maps is model-based reconstruction, so that both must agree."""

    name = "unfold"
    title = "T2 from k-space"
    echo_time = (0.008, 0.02, 0.04, 0.07)

    def build(self, network: nn.Module, card: Card, **options: Any) -> Any:
        return _Unfolding(card, ModelBased(options["model"]))


UNFOLD = LearnedMethod(
    "unfold",
    "T2 from k-space",
    4,
    "recon",
    ("zhu2023", "liu2019"),
    (RecipeEntry("unfold", "recipes:Unfold", "mese"),),
    "fastqmri recon --method model-based",
)
"""A learned method from k-space, for tests."""
