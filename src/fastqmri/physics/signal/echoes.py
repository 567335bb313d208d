"""In which order the phases of echoes are unwrapped."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

_EQUAL = 1e-3
"""Times this close, relative, are equal: which is the least must not hang on their rounding."""


def closest_echoes(times: Sequence[float]) -> tuple[int, int]:
    """The two echoes between which the phase has the least time to wrap, the earlier first; of equal pairs the first.

    Args:
        times: at least two, in s, in any order.
    """
    order = sorted(range(len(times)), key=lambda i: times[i])
    gaps = [times[b] - times[a] for a, b in itertools.pairwise(order)]
    place = next(i for i, gap in enumerate(gaps) if gap <= (1 + _EQUAL) * min(gaps))
    return order[place], order[place + 1]


def nearest_first(times: Sequence[float], known: Sequence[int]) -> list[int]:
    """The other echoes, each as near as can be to one before it; of equally near ones the earlier first.

    Args:
        times: in s, in any order.
        known: echoes to start from.
    """
    waiting = [i for i in sorted(range(len(times)), key=lambda i: times[i]) if i not in known]
    reached, found = list(known), []
    while waiting:
        away = [min(abs(times[i] - times[j]) for j in reached) for i in waiting]
        nearest = waiting.pop(next(k for k, time in enumerate(away) if time <= (1 + _EQUAL) * min(away)))
        reached.append(nearest)
        found.append(nearest)
    return found
