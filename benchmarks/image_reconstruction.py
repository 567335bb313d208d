"""Error of T2 maps after every image reconstruction, and of structured sparsity without coil maps.

``python benchmarks/image_reconstruction.py [--phantoms 10] [--seeds 3] [--only llr,subspace]`` prints tables and
asserts nothing. Phantoms of textured ellipses, 64², 8 echoes from 7 to 71 ms, 4 coils, SNR 60, random lines that
differ between echoes. A phantom is drawn once, its masks and noise once for every seed. The package's defaults were
chosen on phantoms 1000 to 1003 (``--tuning``), with masks and noise of their own; the tables are made of others.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable

import torch

from fastqmri import Measurement
from fastqmri.core.acquisition import MultiEchoSpinEcho
from fastqmri.estimators import CATALOGUE
from fastqmri.estimators.reconstruction import (
    RECONSTRUCTIONS,
    ImageReconstruction,
    StructuredSparsity,
    TwoStep,
)
from fastqmri.phantoms import Phantom, acquire, ellipses
from fastqmri.physics.encoding import CartesianEncoding, synthetic_sensitivities, variable_density_lines

ENTRY = CATALOGUE["mese"]
MODEL = ENTRY.build(MultiEchoSpinEcho(echo_time=tuple(0.007 + i * 0.064 / 7 for i in range(8))))
TUNING, REPORTED = 1000, 50_000
Scan = tuple[Phantom, Measurement]


def scans(
    first: int, phantoms: int, seeds: int, acceleration: float, coils: int, side: int = 64
) -> list[Scan]:
    """Phantoms, each measured ``seeds`` times."""
    made = []
    for number in range(phantoms):
        phantom = ellipses((side, side), generator=torch.Generator().manual_seed(first + number))
        for seed in range(seeds):
            generator = torch.Generator().manual_seed(1_000_000 + 100 * (first + number) + seed)
            maps = synthetic_sensitivities((side, side), coils, generator=generator)
            lines = variable_density_lines(side, 8, acceleration, generator=generator)
            encoding = CartesianEncoding(maps, lines[:, :, None])
            made.append((phantom, acquire(phantom, MODEL, encoding, snr=60, generator=generator)))
    return made


def map_error(images: ImageReconstruction, scan: Scan) -> float:
    """nRMSE of T2 inside the phantom in percent; voxels that could not be fitted count as zero."""
    phantom, measurement = scan
    maps = TwoStep(images, ENTRY.estimator(MODEL, "nlls")).estimate(measurement)
    wanted = phantom.maps["T2"][phantom.mask]
    got = torch.nan_to_num(maps["T2"].value.double()[phantom.mask])
    return 100 * float((got - wanted).norm() / wanted.norm())


def image_quality(images: ImageReconstruction, scan: Scan) -> float:
    """Peak signal to noise of the magnitudes of all echoes inside the phantom, dB."""
    phantom, measurement = scan
    wanted = phantom.signal(MODEL).abs()[:, phantom.mask]
    got = images.reconstruct(measurement).abs()[:, phantom.mask]
    return 20 * math.log10(float(wanted.max() / (got - wanted).square().mean().sqrt()))


def summary(values: list[float], group: int) -> str:
    """Mean with the 95 % interval of phantoms' means (normal), and the worst phantom."""
    means = [statistics.fmean(values[i : i + group]) for i in range(0, len(values), group)]
    spread = statistics.stdev(means) / math.sqrt(len(means)) if len(means) > 1 else math.nan
    return f"{statistics.fmean(means):6.2f} ± {1.96 * spread:4.2f}  {max(means):6.2f}"


def measured(
    make: Callable[[ImageReconstruction, Scan], float],
    images: ImageReconstruction,
    cases: list[Scan],
    seeds: int,
) -> str:
    """A line of a table: the summary, and CPU seconds for one scan."""
    begin = time.process_time()
    values = [make(images, case) for case in cases]
    return f"{summary(values, seeds)}  {(time.process_time() - begin) / len(cases):6.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--phantoms", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="", help="names of methods, with commas")
    parser.add_argument("--tuning", action="store_true", help="the phantoms that defaults were chosen on")
    chosen = parser.parse_args()
    first = TUNING if chosen.tuning else REPORTED
    names = [n for n in RECONSTRUCTIONS if not chosen.only or n in chosen.only.split(",")]
    print(
        f"{chosen.phantoms} phantoms, {chosen.seeds} seeds each; mean ± 95 % over phantoms, worst phantom, CPU s"
    )
    for acceleration in (5, 8):
        cases = scans(first, chosen.phantoms, chosen.seeds, acceleration, coils=4)
        print(f"\nT2 nRMSE %, R = {acceleration}, 4 coils")
        for name in names:
            line = measured(map_error, RECONSTRUCTIONS[name].build(MODEL), cases, chosen.seeds)
            print(f"  {name:20s} {line}", flush=True)
    structured = [n for n in ("lasso", "group-lasso", "sparse-group-lasso", "oscar") if n in names]
    for coils in (4, 8) if structured else ():
        cases = scans(first, chosen.phantoms, 1, 4, coils)
        print(
            f"\nImages without coil maps, PSNR dB, R = 4, {coils} coils (the column after ± is the best phantom)"
        )
        for name in structured:
            print(f"  {name:20s} {measured(image_quality, StructuredSparsity(name), cases, 1)}", flush=True)


if __name__ == "__main__":
    main()
