"""What is written beside trained weights."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from fastqmri.learning.evaluation import Result
from fastqmri.learning.validity import Validity


class Finishing(BaseModel):
    """Least-squares steps from a network's output.

    Attributes:
        steps: at most.
        default: whether they are taken unless asked otherwise.
        gain: what they change, measured.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int
    default: bool
    gain: str


class Card(BaseModel):
    """All there is to know about a weights file.

    Attributes:
        name: of the recipe and of the weights.
        method: published method.
        title: a line for people.
        data: what it was trained on.
        settings: of the training.
        command: that makes the weights again.
        seconds: the training took, wall clock.
        machine: where.
        versions: of Python, PyTorch and this package.
        parameters: numbers in the network.
        sha256: of the weights file.
        validity: what it may be used for.
        classical: what to use outside of that, as the user asks for it.
        expected_error: quantity -> relative root mean square error on held-out data (fraction).
        finishing: least-squares steps after the network, if there are any.
        references: bibliography keys.
        results: the network beside classical methods.
        notes: what else a user should know.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    method: str
    title: str
    data: str
    settings: dict[str, Any]
    command: str
    seconds: float
    machine: str
    versions: dict[str, str]
    parameters: int
    sha256: str
    validity: Validity
    classical: str
    expected_error: dict[str, float] = {}
    finishing: Finishing | None = None
    references: tuple[str, ...] = ()
    results: tuple[Result, ...] = ()
    notes: tuple[str, ...] = ()
