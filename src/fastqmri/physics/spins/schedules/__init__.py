"""Published schedules by name."""

from __future__ import annotations

from fastqmri.core import Schedule, UnknownNameError
from fastqmri.physics.spins.schedules import fingerprinting, saturation, sequences
from fastqmri.physics.spins.schedules.published import Published

__all__ = ["SCHEDULES", "Published", "schedule"]

_ALL: tuple[Published, ...] = (
    *fingerprinting.SCHEDULES,
    *saturation.SCHEDULES,
    *sequences.SCHEDULES,
)
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
