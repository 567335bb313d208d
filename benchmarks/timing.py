"""Stopwatches: wall and CPU seconds of one run, and how busy the machine was otherwise."""

from __future__ import annotations

import os
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Sample:
    """One timed run.

    Attributes:
        wall: seconds.
        cpu: seconds of all threads and child processes.
        others: cores that other processes used meanwhile; None where the system doesn't tell.
    """

    wall: float
    cpu: float
    others: float | None = None


@dataclass(frozen=True)
class Summary:
    """Repeated runs in short.

    Attributes:
        wall_median: seconds.
        wall_least: seconds.
        cpu_least: seconds; the figure that other work on the machine disturbs least.
        others: mean of the cores used by others.
        runs: how many.
    """

    wall_median: float
    wall_least: float
    cpu_least: float
    others: float | None
    runs: int


def summary(samples: Sequence[Sample]) -> Summary:
    """Median and least of repeated runs."""
    walls = [s.wall for s in samples]
    known = [s.others for s in samples if s.others is not None]
    return Summary(
        statistics.median(walls),
        min(walls),
        min(s.cpu for s in samples),
        statistics.mean(known) if known else None,
        len(samples),
    )


def timed(work: Callable[[], object]) -> Sample:
    """Run once."""
    machine, cpu, wall = _machine_seconds(), cpu_seconds(), time.perf_counter()
    work()
    wall = time.perf_counter() - wall
    cpu = cpu_seconds() - cpu
    after = _machine_seconds()
    if machine is None or after is None or wall < 0.05:  # the system's clock ticks every 10 ms
        return Sample(wall, cpu)
    return Sample(wall, cpu, max(0.0, (after - machine - cpu) / wall))


def cpu_seconds() -> float:
    """Of this process and the children it has waited for."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _machine_seconds() -> float | None:
    path = Path("/proc/stat")
    if not path.exists():
        return None
    user, nice, system, _, _, *more = (int(x) for x in path.read_text().splitlines()[0].split()[1:9])
    return (user + nice + system + sum(more)) / os.sysconf("SC_CLK_TCK")
