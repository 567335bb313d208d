"""What makes a trained network: what is drawn, the loss, how it is judged, where it may be used."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from fastqmri.core import Progress
from fastqmri.learning.cards import Card
from fastqmri.learning.evaluation import Result
from fastqmri.learning.validity import Validity


class TrainingSettings(BaseModel):
    """Numbers of one training; part of its card, and what ``--config`` may change.

    Attributes:
        seed: of the first weights and of all draws.
        steps: of the optimiser.
        batch: samples a step, over all processes.
        learning_rate: the highest one.
        schedule: ``cosine`` down to zero after a warm-up, or ``constant``.
        warm_up: share of the steps in which the rate rises from zero.
        weight_decay: decoupled (AdamW).
        clip: largest norm of the gradient; None for any.
        validate_every: steps between scores, and between checkpoints at the latest.
        patience: scores without a new best after which training stops early; None for never.
        precision: ``auto`` is bfloat16 autocast on a GPU, single precision elsewhere.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = 0
    steps: int = Field(gt=0)
    batch: int = Field(gt=0)
    learning_rate: float = Field(gt=0)
    schedule: Literal["cosine", "constant"] = "cosine"
    warm_up: float = Field(default=0.05, ge=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0)
    clip: float | None = Field(default=1.0, gt=0)
    validate_every: int = Field(default=250, gt=0)
    patience: int | None = Field(default=None, gt=0)
    precision: Literal["auto", "float32", "bfloat16"] = "auto"


class Recipe(ABC):
    """One network: how it is made, trained and judged. Subclasses are final.

    Attributes:
        name: of the weights, such as ``drone-25``.
        title: a line for people.
        settings: of the training that made the shipped weights.
        quantities: parameters that the network gives.
        data: what it was trained on, in a sentence.
        state: what the loss has to remember from step to step; saved with every checkpoint.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    settings: ClassVar[TrainingSettings]
    quantities: ClassVar[tuple[str, ...]]
    data: ClassVar[str]

    def __init__(self) -> None:
        self.state = nn.Module()

    @abstractmethod
    def network(self) -> nn.Module:
        """A network with fresh weights, of PyTorch's global generator, which the trainer seeds."""

    def skeleton(self) -> nn.Module:
        """A network whose numbers will all be replaced; for recipes whose fresh ones take long to make."""
        return self.network()

    @abstractmethod
    def draw(self, generator: torch.Generator, count: int) -> Any:
        """Fresh samples: tensors, or tuples, dictionaries or dataclasses of them; all chance from the generator."""

    @abstractmethod
    def loss(self, network: nn.Module, batch: Any, share: float) -> dict[str, Tensor]:
        """Terms of the loss, which the trainer adds up.

        Args:
            network: in training mode.
            batch: of `draw`, on the network's device.
            share: part of the training that is done, 0 to 1, for losses that go through stages.
        """

    @abstractmethod
    def score(self, network: nn.Module) -> float:
        """How good it is on draws of the tuning split that are the same every time; lower is better."""

    @abstractmethod
    def validity(self) -> Validity:
        """What the network may be used for."""

    @abstractmethod
    def evaluate(
        self, network: nn.Module, card: Card, *, seeds: int = 3, progress: Progress | None = None
    ) -> list[Result]:
        """Errors on held-out subjects beside the classical methods, in one run.

        Args:
            network: trained.
            card: with its validity; its results don't matter.
            seeds: of noise and sampling.
            progress: called with (done, in all).
        """

    @abstractmethod
    def build(self, network: nn.Module, card: Card, **options: Any) -> Any:
        """What maps a measurement with the network: an `Estimator`, or an inversion of susceptibility mapping."""
