"""What a schedule that can be asked for by name is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fastqmri.core import Schedule


@dataclass(frozen=True)
class Published:
    """A schedule that can be asked for by name.

    Attributes:
        name: for the command line (``irfisp-1000``).
        description: one line for people, which says where the numbers come from.
        build: makes it.
        references: bibliography keys.
    """

    name: str
    description: str
    build: Callable[[], Schedule]
    references: tuple[str, ...] = ()
