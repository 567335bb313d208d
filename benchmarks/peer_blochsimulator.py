"""blochsimulator's isochromats through the sampled pulse of jobs_bloch."""

from peer_server import serve, task

folder, given = task()

import numpy as np  # noqa: E402  (after the number of threads is set)
from blochsimulator.blochsimulator_cy import simulate_bloch_parallel  # noqa: E402

steps = given["steps"]
gamma = 26753e4 / (2 * np.pi)  # Hz/T, the constant in its core
time = steps[:, 5]
pulse = (steps[:, 0] + 1j * steps[:, 1]) / (2 * np.pi * gamma * time) * 1e4  # gauss
gradient = np.zeros((len(steps), 3))
gradient[:, 2] = steps[:, 4] / (2 * np.pi * gamma * time) * 100  # gauss/cm
position = np.zeros((len(given["z"]), 3))
position[:, 2] = given["z"] * 100  # cm


def run():
    found = simulate_bloch_parallel(
        pulse,
        gradient,
        time,
        float(given["t1"]),
        float(given["t2"]),
        np.zeros(1),
        position,
        None,
        0,
        int(given["threads"]),
    )
    return np.stack([np.asarray(part).ravel() for part in found[:3]])


serve(folder, run)
