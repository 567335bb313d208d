"""Dipole inversion by a network beside tuned classical ones: held-out phantoms, what lies outside its card, a head.

    python benchmarks/methods/susceptibility.py             # phantoms, then what finishing does
    python benchmarks/methods/susceptibility.py --data DIR  # also the head of a subject that nothing was trained on
    python benchmarks/methods/susceptibility.py --twin 300  # one channel against two, both trained for so many steps
    python benchmarks/methods/susceptibility.py --bound     # how well the rest of the field can be told apart at all

Classical settings are chosen on six phantoms of the tuning seeds. Errors are those of the mask, without their mean.
"""

from __future__ import annotations

import argparse
import math
import os
import tempfile
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from fastqmri.estimators.susceptibility import Inversion
from fastqmri.estimators.susceptibility.metrics import demeaned_error, high_frequency_error
from fastqmri.learning.dipole_inversion import LearnedInversion
from fastqmri.learning.evaluation import as_text
from fastqmri.learning.fields import RADIANS_PER_PPM, FieldRanges, draw_field
from fastqmri.learning.inversion_results import fields_of, inversion_results, tuned
from fastqmri.learning.training import train
from fastqmri.methods import load
from fastqmri.methods.modl_qsm import ModlQsm
from fastqmri.phantoms import load_anatomy, susceptibility_ellipsoids, susceptibility_head
from fastqmri.phantoms.anisotropy import parts_of_field
from fastqmri.phantoms.fields import smooth_texture
from fastqmri.physics.encoding import dipole_kernel

TUNING = range(100, 106)
FINISHING = [(steps, pull) for steps in (2, 5) for pull in (0.03, 0.1, 0.3)]


def head(data, methods):
    """The held-out subject at 3 mm, with fibres in its white matter."""
    anatomy = load_anatomy("brainweb-06", data)
    generator = torch.Generator().manual_seed(1000)
    phantom = susceptibility_head(
        (64, 72, 64), generator=generator, anatomy=anatomy, voxel_size=3.0, calcification=False, bundles=12
    )
    drawn = draw_field(phantom, FieldRanges(), generator)
    print(as_text(inversion_results("head of brainweb-06, 3 mm", methods, [drawn])))


def finishing(trained):
    """Errors on the tuning phantoms, without finishing and with."""
    ranges = FieldRanges(isotropic=0.0, calcification=0.0)
    drawn = [fields_of(seed, ranges) for seed in TUNING]
    plain = trained.recipe.build(trained.network, trained.card, finishing=0)
    for steps, pull in [(0, 1.0), *FINISHING]:
        one = plain.configured(finishing=steps, pull=pull)
        rows = [
            (
                measure(got, field.chi33, field.phantom.mask)
                for measure in (demeaned_error, high_frequency_error)
            )
            for field in drawn
            for got in (field.invert(one).value,)
        ]
        error, fine = torch.tensor([list(row) for row in rows]).mean(0).tolist()
        print(f"  finishing {steps} steps, pull {pull:g}: NRMSE {error:.2f} %, HFEN {fine:.2f} %", flush=True)


def twin(steps):
    """Errors on ten held-out phantoms with and without the second channel, after equally short trainings."""
    ranges = FieldRanges(isotropic=0.0, calcification=0.0)
    drawn = [fields_of(seed, ranges) for seed in range(1000, 1010)]
    for rest in (False, True):
        recipe = ModlQsm(rest=rest)
        settings = recipe.settings.model_copy(update={"steps": steps, "validate_every": steps})
        with tempfile.TemporaryDirectory() as folder:
            network = train(recipe, Path(folder), settings).network
        one = Inversion("twin", "", (), LearnedInversion(network, lambda _: (), 1.0))
        rows = [
            [
                measure(got, field.chi33, field.phantom.mask)
                for measure in (demeaned_error, high_frequency_error)
            ]
            for field in drawn
            for got in (field.invert(one).value,)
        ]
        error, fine = torch.tensor(rows).mean(0).tolist()
        print(f"  {1 + rest} channel(s), {steps} steps: NRMSE {error:.2f} %, HFEN {fine:.2f} %", flush=True)


def bound(side=40, count=8):
    """Correlation of the best linear filter of the field with the rest, all else known but smooth texture and noise."""
    wide = (2 * side,) * 3
    kernel = dipole_kernel(wide, (1, 1, 1), dtype=torch.float64)
    rest, texture, voxels = 0.0, 0.0, 0
    for seed in range(100, 100 + count):
        generator = torch.Generator().manual_seed(seed)
        phantom = susceptibility_ellipsoids((side,) * 3, generator=generator, bundles=5)
        mask = phantom.mask
        rest = rest + torch.fft.rfftn(parts_of_field(phantom).rest * mask, s=wide).abs() ** 2
        smooth = (smooth_texture((side,) * 3, 1.0, side / 24, generator=generator) - 1) * mask
        texture = texture + torch.fft.rfftn(smooth, s=wide).abs() ** 2
        voxels += int(mask.sum())
    for spread in (0.0, 0.002, 0.005, 0.01):
        for snr in (40, 100):
            noise = voxels / (snr * RADIANS_PER_PPM) ** 2
            share = (rest * rest / ((kernel * spread) ** 2 * texture + rest + noise)).sum() / rest.sum()
            print(f"  texture {spread} ppm, SNR {snr}: r {math.sqrt(share):.2f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="folder of digital brains")
    parser.add_argument(
        "--seeds", type=int, default=3, help="phantoms of all cases but the first, which has ten"
    )
    parser.add_argument("--bound", action="store_true")
    parser.add_argument("--twin", type=int, help="steps of the two trainings")
    parser.add_argument("--only", choices=["phantoms", "finishing", "head"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.bound:
        bound()
        return
    if options.twin:
        twin(options.twin)
        return
    trained = load("modl-qsm")
    if options.only in (None, "phantoms"):
        print(as_text(trained.recipe.evaluate(trained.network, trained.card, seeds=options.seeds)))
    if options.only in (None, "finishing"):
        finishing(trained)
    if options.data and options.only in (None, "head"):
        ranges = replace(FieldRanges(), isotropic=0.0)
        methods = {**tuned(ranges, TUNING), "modl-qsm": trained.recipe.build(trained.network, trained.card)}
        head(options.data, methods)


if __name__ == "__main__":
    main()
