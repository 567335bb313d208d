"""The smallest recipe: a straight line from noisy points."""

from typing import Any

import torch
from torch import Tensor, nn

from fastqmri.learning.cards import Card
from fastqmri.learning.evaluation import Result
from fastqmri.learning.recipe import Recipe, TrainingSettings
from fastqmri.learning.training import _generator
from fastqmri.learning.validity import Validity


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
