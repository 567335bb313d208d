"""Published schedules by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fastqmri.core import Schedule, UnknownNameError


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


_ALL: tuple[Published, ...] = ()
SCHEDULES: dict[str, Published] = {published.name: published for published in _ALL}


def schedule(name: str) -> Schedule:
    """A published schedule.

    Raises:
        UnknownNameError: no schedule of that name.
    """
    if name not in SCHEDULES:
        raise UnknownNameError(
            f"schedule {name!r}",
            "no published schedule has that name.",
            f"Use one of {', '.join(SCHEDULES)}.",
        )
    return SCHEDULES[name].build()
