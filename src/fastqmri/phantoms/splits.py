"""Which digital subjects may train, which may tune, and which only judge: decided once, by name.

Slices, seeds, mirrored or resampled copies of a subject stay in its own part: they are not new subjects.
"""

from __future__ import annotations

from collections.abc import Mapping

from fastqmri.core import UnknownNameError

SPLITS: Mapping[str, tuple[str, ...]] = {
    "training": ("brainweb-04", "mni152"),
    "tuning": ("brainweb-05",),
    "held-out": ("brainweb-06",),
}
"""Part -> subjects."""
SUBJECTS = tuple(name for part in SPLITS.values() for name in part)


ELLIPSE_SEEDS: Mapping[str, range] = {
    "training": range(1_000_000, 2**62),
    "tuning": range(100, 200),
    "held-out": range(1000, 1_000_000),
}
"""Part -> seeds of the random objects that belong to it."""


def split_of(subject: str) -> str:
    """The part a subject belongs to.

    Raises:
        UnknownNameError: no such subject.
    """
    for part, names in SPLITS.items():
        if subject in names:
            return part
    raise UnknownNameError(
        f"subject {subject}", "it is in no part of the split.", f"Use one of {', '.join(SUBJECTS)}."
    )
