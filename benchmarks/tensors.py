"""Contenders of the diffusion tensor job: 6 volumes without and 64 with diffusion weighting."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from contenders import Contender, Estimates
from jobs import Array, Simulated, gradients, measures
from work import of_logarithm

from fastqmri import Measurement, ParameterMaps
from fastqmri.core import DiffusionWeighted
from fastqmri.estimators.catalogue import entry
from fastqmri.physics.signal import DiffusionTensor
from fastqmri.solvers import dispatch
from fastqmri.solvers.solution import Solution

_METHODS = {"wls": "one reweighting", "iwls": "three reweightings", "nlls": "non-linear"}
_RIVALS = {name: f"fastqmri estimate(), {words}" for name, words in _METHODS.items()}
_PASSES = {"wls": 1, "iwls": 3}
_SUBSETS = {"WLS": 10_000, "NLLS": 2_000}
_ORDER = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))


def model_of() -> DiffusionTensor:
    """The model of the simulated acquisition."""
    b, vectors = gradients()
    return DiffusionTensor(
        DiffusionWeighted(b_value=tuple(b.tolist()), b_vector=tuple(map(tuple, vectors.tolist())))
    )


def contenders(simulated: Simulated, threads: int, folder: Path) -> Iterator[Contender]:
    """Everybody at hand."""
    yield from fastqmri_contenders(simulated)
    yield from mrtrix_contenders(simulated, threads, folder)
    yield from dipy_contenders(simulated)


def fastqmri_contenders(simulated: Simulated) -> Iterator[Contender]:
    """Tensor, FA, MD, AD, RD with standard deviations and flags; and the solvers alone."""
    model = model_of()
    data = torch.from_numpy(simulated.samples.T.copy())
    measurement = Measurement(data, model.acquisition)
    voxels = len(simulated.samples)
    table = entry("dti")
    for method in _METHODS:
        estimator = table.estimator(model, method)
        yield Contender(
            _RIVALS[method],
            voxels,
            lambda estimator=estimator: estimator.estimate(measurement),
            _read_maps,
            work=of_logarithm(model, _PASSES[method]) if method in _PASSES else None,
        )
    for method, words in _METHODS.items():
        solve = table.method(method).solve

        def run(solve: Callable[..., Solution] = solve) -> Solution:
            with dispatch.own_threads():
                return solve(model, data, None, {})

        yield Contender(
            f"fastqmri, solver alone, {words}",
            voxels,
            run,
            _read_solution,
            work=of_logarithm(model, _PASSES[method]) if method in _PASSES else None,
        )


def dipy_contenders(simulated: Simulated) -> Iterator[Contender]:
    """FA and MD of dipy's tensor model, no standard deviations."""
    try:
        from dipy.core.gradients import gradient_table
        from dipy.reconst.dti import TensorModel
    except ImportError:
        return
    b, vectors = gradients()
    table = gradient_table(b, bvecs=vectors)
    for method, subset in _SUBSETS.items():
        model = TensorModel(table, fit_method=method)
        samples = simulated.samples[:subset].astype(float)

        def run(model: TensorModel = model, samples: Array = samples) -> Estimates:
            fit = model.fit(samples)
            return {"FA": np.asarray(fit.fa), "MD": np.asarray(fit.md)}

        yield Contender(f"dipy {method}", len(samples), run, _as_they_are, rival=_RIVALS[method.lower()])


def mrtrix_contenders(simulated: Simulated, threads: int, folder: Path) -> Iterator[Contender]:
    """dwi2tensor: reads an image, writes the tensor image, no measures, no standard deviations."""
    if shutil.which("dwi2tensor") is None:
        return
    side = 100
    voxels = len(simulated.samples) // side * side
    if not voxels:
        return
    source, target = folder / "dwi.mif", folder / "tensor.mif"
    _write_mif(source, simulated.samples[:voxels].reshape(voxels // side, side, 1, -1))
    common = ["-quiet", "-force", "-nthreads", str(threads if threads > 1 else 0)]

    def fit(iterations: int) -> Callable[[], object]:
        command = ["dwi2tensor", *common, "-iter", str(iterations), str(source), str(target)]
        return lambda: subprocess.run(command, check=True)

    def read(_: object) -> Estimates:
        flat = folder / "tensor.mih"
        form = ["-strides", "2,1,3,4", "-datatype", "float32le"]
        subprocess.run(["mrconvert", *common, str(target), *form, str(flat)], check=True)
        elements = np.fromfile(folder / "tensor.dat", "<f4").reshape(6, -1)  # xx yy zz xy xz yz
        xx, yy, zz, xy, xz, yz = elements.astype(float)
        return _measures_of(np.stack([xx, xy, xz, yy, yz, zz], axis=1))

    yield Contender("MRtrix3 dwi2tensor, 2 iterations", voxels, fit(2), read, rival=_RIVALS["iwls"])


def _write_mif(path: Path, samples: np.ndarray) -> None:
    """(x, y, z, volume) in MRtrix's format, the second axis fastest as it lies in memory here."""
    b, vectors = gradients()
    lines = [
        "mrtrix image",
        "dim: " + ",".join(map(str, samples.shape)),
        "vox: 1,1,1,1",
        "layout: +1,+0,+2,+3",
        "datatype: Float32LE",
        *(f"dw_scheme: {x:.9g},{y:.9g},{z:.9g},{w:g}" for (x, y, z), w in zip(vectors, b, strict=True)),
    ]
    room = sum(len(line) + 1 for line in lines) + 64
    header = "\n".join([*lines, f"file: . {room}", "END", ""]).encode()
    path.write_bytes(header.ljust(room, b"\0") + samples.transpose(3, 2, 0, 1).tobytes())


def _measures_of(elements: Array) -> Estimates:
    """FA and MD of (voxel, 6) tensors."""
    tensors = np.empty((len(elements), 3, 3))
    for column, (i, j) in zip(elements.T, _ORDER, strict=True):
        tensors[:, i, j] = tensors[:, j, i] = column
    return measures(np.linalg.eigvalsh(tensors))


def _read_maps(maps: object) -> Estimates:
    assert isinstance(maps, ParameterMaps)
    return {name: maps[name].value.double().numpy() for name in ("FA", "MD")}


def _read_solution(solution: object) -> Estimates:
    assert isinstance(solution, Solution)
    return _measures_of(solution.x[1:].T.numpy())


def _as_they_are(found: object) -> Estimates:
    assert isinstance(found, dict)
    return found
