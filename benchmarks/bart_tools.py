"""BART, which is a program and reads files: how it is called, and its files."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def installed() -> bool:
    """Whether there is one."""
    return shutil.which("bart") is not None


def bart(folder: Path, *command: object, threads: int = 1) -> None:
    """Run a tool of BART in a folder."""
    subprocess.run(
        ["bart", *map(str, command)],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)},
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=900,
    )


def write_cfl(path: Path, array: NDArray[Any]) -> None:
    """Write an array, its axes in BART's order, as path.hdr and path.cfl."""
    path.with_suffix(".hdr").write_text("# Dimensions\n" + " ".join(map(str, array.shape)) + "\n")
    path.with_suffix(".cfl").write_bytes(array.astype(np.complex64).tobytes(order="F"))


def read_cfl(path: Path) -> NDArray[Any]:
    """Read path.hdr and path.cfl, without axes of length one."""
    sides = [int(side) for side in path.with_suffix(".hdr").read_text().splitlines()[1].split()]
    flat = np.fromfile(path.with_suffix(".cfl"), np.complex64)
    return np.squeeze(flat.reshape(sides, order="F"))
