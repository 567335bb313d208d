"""jaxopt's Levenberg-Marquardt in a process of its own: each line read runs all voxels once, each line
written says how long that took.

Needs only jax, jaxopt and numpy. Called by run.py: ``python peer_jaxopt.py FOLDER``, where FOLDER holds
task.npz (samples, start, abscissa, repetition_time, job, bits); result.npy is written there.
"""

import json
import resource
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import jaxopt
import numpy as np

STEPS = 20


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def curve_of(job, t, repetition_time):
    if job == "vfa":

        def spoiled(x):
            e = jnp.exp(-repetition_time / x[1])
            return x[0] * jnp.sin(t) * (1 - e) / (1 - e * jnp.cos(t))

        return spoiled
    if job == "ir":
        return lambda x: x[0] + x[1] * jnp.exp(-t / x[2])
    return lambda x: x[0] * jnp.exp(-t / x[1])


def main():
    folder = Path(sys.argv[1])
    task = np.load(folder / "task.npz")
    bits = int(task["bits"])
    jax.config.update("jax_enable_x64", bits == 64)
    kind = jnp.float64 if bits == 64 else jnp.float32
    curve = curve_of(str(task["job"]), jnp.asarray(task["abscissa"], kind), float(task["repetition_time"]))
    solver = jaxopt.LevenbergMarquardt(
        lambda x, y: curve(x) - y, maxiter=STEPS, tol=1e-6, materialize_jac=True, solver="cholesky"
    )
    fit = jax.jit(jax.vmap(lambda x, y: solver.run(x, y).params))
    samples, start = jnp.asarray(task["samples"], kind), jnp.asarray(task["start"], kind)
    for _ in sys.stdin:
        cpu, wall = cpu_seconds(), time.perf_counter()
        found = np.asarray(fit(start, samples))
        wall, cpu = time.perf_counter() - wall, cpu_seconds() - cpu
        np.save(folder / "result.npy", found)
        print(json.dumps({"wall": wall, "cpu": cpu}), flush=True)


if __name__ == "__main__":
    main()
