"""Dipole inversions: errors on phantoms of known susceptibility, and their speed beside another program's.

    python benchmarks/susceptibility.py                          # errors, then our speed
    python benchmarks/susceptibility.py --peers PYTHON           # the same and qmrpy, which that interpreter has

Regularisation is chosen on phantoms of its own. Errors are those of the mask, without their mean, in percent.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import math
import os
import subprocess
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

from fastqmri.estimators.susceptibility import INVERSIONS
from fastqmri.estimators.susceptibility.metrics import (
    correlation,
    demeaned_error,
    detrended_error,
    high_frequency_error,
    structural_similarity,
)
from fastqmri.phantoms import gradient_echoes, susceptibility_ellipsoids

TUNING, REPORTED = (1, 2), (201, 202, 203)
DEFAULTS = (11, 12, 13)
"""Phantoms that the defaults of total variation were chosen on, with ``--only defaults``."""
GRID = {
    "tsvd": [{"threshold": t} for t in (0.06, 0.1, 0.15)],
    "l2": [{"jump": j} for j in (0.01, 0.03, 0.1, 0.3)],
    "tv": [{"jump": j} for j in (0.01, 0.02, 0.04)],
    "medi": [{"jump": j} for j in (0.01, 0.02, 0.04)],
    "ndi": [{"iterations": n, "tolerance": 0} for n in (50, 200)],
}
"""What is tried for one orientation; the thresholded division keeps 0.15, several orientations their defaults."""
RUNS = (
    ("tkd", 1),
    ("tsvd", 1),
    ("l2", 1),
    ("tv", 1),
    ("medi", 1),
    ("ndi", 1),
    ("cosmos", 3),
    ("ndi", 3),
    ("cosmos", 5),
    ("ndi", 5),
)
TILT = math.radians(20)
DIRECTIONS = (
    (0.0, 0.0, 1.0),
    *(
        (math.sin(TILT) * math.cos(t), math.sin(TILT) * math.sin(t), math.cos(TILT))
        for t in (0, math.pi, math.pi / 2, 3 * math.pi / 2)
    ),
)
"""Along the third axis and tilted by 20 degrees; the first three lie in one plane."""
ERRORS = (demeaned_error, detrended_error, high_frequency_error, structural_similarity, correlation)


@functools.cache
def clean(seed, everywhere, side):
    """Phantom and its echoes without noise in all directions."""
    generator = torch.Generator().manual_seed(seed)
    phantom = susceptibility_ellipsoids((side,) * 3, generator=generator)
    padding = 1.0 if everywhere else 2.0
    return phantom, gradient_echoes(phantom, generator=generator, directions=DIRECTIONS, padding=padding)


def invert(name, settings, seed, snr, orientations, everywhere, side):
    """Errors of an inversion, as `ERRORS` lists them.

    ``everywhere``: the field is known beyond the object too, with the same noise, and wraps round the matrix.
    """
    phantom, echoes = clean(seed, everywhere, side)
    generator = torch.Generator().manual_seed(1000 * seed + snr)
    scale, mask = echoes.radians_per_ppm(), phantom.mask
    known = {"voxel_size": phantom.voxel_size, "b0_direction": echoes.directions[:orientations]}
    if everywhere:
        noise = torch.randn(echoes.field.shape, generator=generator) / snr / scale
        field, inside, known["padding"] = echoes.field + noise, torch.ones_like(mask), 1.0
    else:
        level = float(echoes.images[0, 0].abs()[mask].mean()) / snr
        drawn = torch.randn((2, *echoes.field.shape), generator=generator) * level
        images = echoes.images[:, 0] + torch.complex(*drawn)
        field, inside, known["weight"] = images.angle() / scale, mask, images.abs()[:orientations]
    one = INVERSIONS[name].configured(**settings)
    got = one.invert(
        field[:orientations],
        inside,
        magnitude=phantom.maps["M0"].float(),
        radians_per_ppm=scale,
        **known,
    ).value
    return [error(got, phantom.maps["chi"], mask) for error in ERRORS]


def accuracy(side, seeds):
    print(
        f"\n{side}³, 3 T, TE 20 ms, {len(seeds)} phantoms, settings chosen on {len(TUNING)} others\n"
        "NRMSE % (range) | detrended | HFEN | XSIM | r"
    )
    for everywhere in (True, False):
        print("field known everywhere" if everywhere else "field known in the mask")
        for snr in (100, 40):
            for name, orientations in RUNS:
                if name == "medi" and everywhere:
                    continue  # of weights and edges, which are those of the mask

                def errors(settings, seed, name=name, count=orientations, snr=snr, everywhere=everywhere):
                    return invert(name, settings, seed, snr, count, everywhere, side)

                best = {}
                if orientations == 1 and name in GRID:
                    best = min(GRID[name], key=lambda one: sum(errors(one, seed)[0] for seed in TUNING))
                table = np.array([errors(best, seed) for seed in seeds])
                mean = table.mean(0)
                print(
                    f"  SNR {snr:3d} {name:7s}{orientations} {best or ''!s:<35} {mean[0]:5.1f} "
                    f"({table[:, 0].min():.1f} to {table[:, 0].max():.1f}) | {mean[1]:5.1f} | {mean[2]:5.1f} | "
                    f"{mean[3]:.3f} | {mean[4]:.3f}",
                    flush=True,
                )


def defaults(side):
    """Total variation with the field cut by the mask: errors of jumps and couplings, for the choice of defaults."""
    for name, couplings in (("tv", (0.03, 0.1, 0.3)), ("medi", (0.3, 1.0))):
        for jump in (0.01, 0.02, 0.04):
            for coupling in couplings:
                settings = {"jump": jump, "coupling": coupling}
                row = [
                    np.mean([invert(name, settings, seed, snr, 1, False, side)[0] for seed in DEFAULTS])
                    for snr in (100, 40)
                ]
                print(f"  {name:5s}{settings}: {row[0]:5.1f} % at SNR 100, {row[1]:5.1f} % at 40", flush=True)


def seconds(run, repeats=5, warm=True):
    """Least processor seconds, and the last result."""
    if warm:
        run()
    times = []
    for _ in range(repeats):
        begin = time.process_time()
        result = run()
        times.append(time.process_time() - begin)
    return min(times), result


TUNED_SIDE = 64


PEER = """
import itertools
import json, sys, time
import numpy as np
from qmrpy.models.qsm.split_bregman import qsm_split_bregman
field, mask, iterations = np.load(sys.argv[1]), np.load(sys.argv[2]), int(sys.argv[3])
sparse, smooth = float(sys.argv[5]), float(sys.argv[6])
begin = time.process_time()
out = qsm_split_bregman(field.astype(float), mask.astype(float), lambda_l1=sparse, lambda_l2=smooth,
                        direction="forward", image_resolution_mm=np.ones(3), pad_size=(0, 0, 0), max_iter=iterations)
spent = time.process_time() - begin
np.save(sys.argv[4], np.asarray(out[0] if isinstance(out, tuple) else out))
print(json.dumps({"seconds": spent}))
"""


def _cut_field(side, seed):
    """A phantom, and its noisy field inside the mask."""
    generator = torch.Generator().manual_seed(seed)
    phantom = susceptibility_ellipsoids((side,) * 3, generator=generator)
    echoes = gradient_echoes(phantom, generator=generator, padding=1.0)
    noise = torch.randn(echoes.field.shape[1:], generator=generator) / 50 / echoes.radians_per_ppm()
    return phantom, (echoes.field[0] + noise) * phantom.mask


def _split_bregman(peers, field, phantom, iterations, weights):
    """Error and processor seconds of the other program."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(Path(folder) / f"{name}.npy") for name in ("field", "mask", "chi")]
        np.save(paths[0], field.numpy())
        np.save(paths[1], phantom.mask.numpy())
        command = [peers, "-c", PEER, paths[0], paths[1], str(iterations), paths[2], *map(str, weights)]
        reply = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        chi = torch.from_numpy(np.load(paths[2]))
    truth = phantom.maps["chi"]
    error = min(demeaned_error(sign * chi, truth, phantom.mask) for sign in (1, -1))
    return error, json.loads(reply.splitlines()[-1])["seconds"]


def speed(side, peers):
    torch.set_num_threads(1)
    phantom, field = _cut_field(side, 7)
    mask, truth = phantom.mask, phantom.maps["chi"]
    transforms, _ = seconds(lambda: torch.fft.irfftn(torch.fft.rfftn(field), s=field.shape))
    division, got = seconds(lambda: INVERSIONS["tkd"].invert(field, mask, voxel_size=(1, 1, 1), padding=1))
    print(f"\n{side}³, one thread, processor seconds\n  two real FFTs {transforms:.3f}")
    print(f"  tkd {division:.3f}, {division / transforms:.2f} times the FFTs")
    spent, got = seconds(
        lambda: INVERSIONS["tv"].invert(field, mask, voxel_size=(1, 1, 1), padding=1), 1, warm=False
    )
    print(
        f"  tv {spent:.2f} s, {got.iterations} iterations, error {demeaned_error(got.value, truth, mask):.1f} %"
    )
    if peers is None:
        return
    small, cut = _cut_field(TUNED_SIDE, 8)
    weights = min(
        itertools.product((2e-5, 2e-4, 2e-3), (2e-3, 2e-2, 2e-1)),
        key=lambda pair: _split_bregman(peers, cut, small, 20, pair)[0],
    )
    print(f"  qmrpy's weights, best of nine at {TUNED_SIDE}³ on another phantom: {weights}")
    for iterations in (10, 20):
        error, theirs = _split_bregman(peers, field, phantom, iterations, weights)
        print(f"  qmrpy split Bregman, {iterations} iterations: {theirs:.2f} s, error {error:.1f} %")
        for steps in range(1, 101):
            one = INVERSIONS["tv"].configured(iterations=steps, tolerance=0)
            spent, got = seconds(
                lambda one=one: one.invert(field, mask, voxel_size=(1, 1, 1), padding=1), 1, warm=False
            )
            ours = demeaned_error(got.value, truth, mask)
            if ours <= error:
                faster = f"{theirs / spent:.1f} times faster"
                print(f"    tv {steps} iterations: {spent:.2f} s, error {ours:.1f} %, {faster}")
                break


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--phantoms", type=int, default=len(REPORTED))
    parser.add_argument("--speed-side", type=int, default=160)
    parser.add_argument("--only", choices=["accuracy", "defaults", "speed"])
    parser.add_argument("--peers", help="interpreter that has qmrpy")
    options = parser.parse_args()
    if options.only in (None, "accuracy"):
        accuracy(options.side, REPORTED[: options.phantoms])
    if options.only == "defaults":
        defaults(options.side)
    if options.only in (None, "speed"):
        speed(options.speed_side, options.peers)


if __name__ == "__main__":
    main()
