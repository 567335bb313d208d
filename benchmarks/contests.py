"""What a contest of simulators is: who takes part, how each is timed, and how far their results differ.

A contender runs here, or in another interpreter whose packages must not be in our environment. There a script of ours
calls `peer_server.serve` with the work to be done; see `Place.peer`.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from timing import Sample, timed

_HERE = Path(__file__).parent


@dataclass
class Runner:
    """Somebody who can be timed.

    Attributes:
        name: for the table.
        amount: how many items (atoms, spectra, voxels) a run does; slow ones get the first few only.
        run: does the work once.
        read: turns what `run` returned into numbers, items on the last axis; untimed.
        rival: name of ours that it is compared with; None for our own.
    """

    name: str
    amount: int
    run: Callable[[], object]
    read: Callable[[Any], NDArray[Any]] = np.asarray
    rival: str | None = None
    result: object = field(default=None, repr=False)

    def measure(self) -> Sample:
        """Time one run."""
        return timed(self._run)

    def numbers(self) -> NDArray[Any]:
        """What the last run found."""
        return self.read(self.result)

    def _run(self) -> None:
        self.result = self.run()


class _Elsewhere(Runner):
    """Timed by its own process."""

    process: subprocess.Popen[str]
    folder: Path

    def measure(self) -> Sample:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("run\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended early; what it said stands above")
        return Sample(**json.loads(line))

    def numbers(self) -> NDArray[Any]:
        return self.read(np.load(self.folder / "result.npy"))


@dataclass(frozen=True)
class Place:
    """Where a contest takes place.

    Attributes:
        threads: everybody may use.
        amount: items that the fast contenders get; None for the contest's own choice.
        peer_python: interpreter with the other programs; None to do without them.
        folder: for files.
        stack: what must be closed afterwards.
    """

    threads: int
    amount: int | None
    peer_python: str | None
    folder: Path
    stack: ExitStack

    def peer(
        self,
        name: str,
        script: str,
        amount: int,
        rival: str,
        read: Callable[[Any], NDArray[Any]] = np.asarray,
        needs: str | None = None,
        **task: Any,
    ) -> list[Runner]:
        """A contender in the other interpreter, where there is one; else nobody.

        Args:
            name: for the table.
            script: file in this folder; it is given a folder that holds task.npz.
            amount: items of a run.
            rival: of ours.
            read: from the saved result to numbers with items on the last axis.
            needs: a module without which the contender stays away.
            task: what task.npz holds.
        """
        if self.peer_python is None:
            return []
        if needs is not None:
            found = subprocess.run([self.peer_python, "-c", f"import {needs}"], capture_output=True)
            if found.returncode:
                print(f"  {name} stays away: {needs} is not installed for {self.peer_python}", flush=True)
                return []
        own = self.folder / name.replace(" ", "_").replace("/", "_")
        own.mkdir()
        np.savez(own / "task.npz", threads=self.threads, **task)
        runner = _Elsewhere(name, amount, _unused, read, rival)
        cores = sorted(os.sched_getaffinity(0))[: self.threads]
        runner.folder = own
        runner.process = subprocess.Popen(
            [self.peer_python, str(_HERE / script), str(own)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
        self.stack.callback(_end, runner.process)
        return [runner]


@dataclass(frozen=True)
class Contest:
    """One job that several programs can do.

    Attributes:
        name: for ``--jobs``.
        title: for the table.
        unit: what is counted (``atoms``).
        enter: everybody who takes part, our own first.
        note: what the reader must know to read the table.
    """

    name: str
    title: str
    unit: str
    enter: Callable[[Place], Sequence[Runner]]
    note: str = ""


def difference(found: NDArray[Any], wanted: NDArray[Any]) -> float:
    """Largest difference over the items that both have, relative to the largest number."""
    items = min(found.shape[-1], wanted.shape[-1])
    found, wanted = found[..., :items], wanted[..., :items]
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


def _unused() -> None:
    raise AssertionError


def _end(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    process.wait()
