"""Contenders in other processes: their packages must not be in our environment, nor ours in theirs."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from contenders import Contender, Estimates
from jobs import ABSCISSA, REPETITION_TIME, Job, Simulated
from timing import Sample

_HERE = Path(__file__).parent


class Jaxopt(Contender):
    """jaxopt's Levenberg-Marquardt under `vmap` and `jit`, timed by its own process."""

    def __init__(
        self, job: Job, simulated: Simulated, bits: int, folder: Path, process: subprocess.Popen[str]
    ) -> None:
        name, voxels = f"jaxopt LM, float{bits}", len(simulated.samples)
        super().__init__(name, voxels, self._unused, self._read, rival="fastqmri estimate()")
        self._folder, self._process, self._quantity = folder, process, job.quantity

    def measure(self) -> Sample:
        """Ask for one run."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("run\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the jaxopt process ended early; what it said stands above")
        return Sample(**json.loads(line))

    def _unused(self) -> None:
        raise AssertionError

    def _read(self, _: object) -> Estimates:
        return {self._quantity: np.load(self._folder / "result.npy")[:, -1].astype(float)}


@contextmanager
def jaxopt(
    python: str | None, job: Job, simulated: Simulated, bits: int, threads: int, folder: Path
) -> Iterator[list[Contender]]:
    """Start the process, where there is an interpreter for it; end it afterwards."""
    if python is None:
        yield []
        return
    own = folder / f"jaxopt{bits}"
    own.mkdir()
    np.savez(
        own / "task.npz",
        samples=simulated.samples,
        start=job.start(simulated.samples.astype(float)),
        abscissa=ABSCISSA[job.name],
        repetition_time=REPETITION_TIME,
        job=job.name,
        bits=bits,
    )
    cores = sorted(os.sched_getaffinity(0))[:threads]
    process = subprocess.Popen(
        [python, str(_HERE / "peer_jaxopt.py"), str(own)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),  # XLA makes as many threads as it may use cores
    )
    try:
        yield [Jaxopt(job, simulated, bits, own, process)]
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait()
