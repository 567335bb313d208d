"""Errors of background removal side by side: a head beside air, whose local field is known in closed form.

    python benchmarks/background.py [HEADS]

Settings are the package's own and were not tuned on these heads. Prints, for every method, the root mean square error
of the local field (in percent of its own, means taken off) in what the method keeps and in what all keep, over several
heads with sources and cavities drawn at random; and the processor time.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from estimators.susceptibility.spheres import AIR, Sphere, error, head
from fastqmri.estimators.susceptibility import BACKGROUND_REMOVALS

NOISE = 0.001
"""Standard deviation in ppm."""


def uniform(generator: torch.Generator, low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))


def drawn(generator: torch.Generator):
    """A head with eight sources and two cavities."""
    inside = [
        Sphere(
            (uniform(generator, -20, 20), uniform(generator, -24, 24), uniform(generator, -16, 16)),
            uniform(generator, 3, 7),
            uniform(generator, -0.3, 0.3),
        )
        for _ in range(8)
    ]
    outside = [
        Sphere((uniform(generator, -6, 6), uniform(generator, 42, 48), -14), uniform(generator, 8, 12), AIR),
        Sphere(
            (uniform(generator, -34, -26), -20, uniform(generator, -38, -32)), uniform(generator, 6, 9), AIR
        ),
    ]
    return head(inside=inside, outside=outside)


def main(heads: int) -> None:
    names = list(BACKGROUND_REMOVALS)
    own, common = ({name: [] for name in names} for _ in range(2))
    kept, seconds = ({name: [] for name in names} for _ in range(2))
    for seed in range(heads):
        generator = torch.Generator().manual_seed(100 + seed)
        one = drawn(generator)
        noise = NOISE * torch.randn(one.local.shape, generator=generator, dtype=torch.float64)
        results = {}
        for name, make in BACKGROUND_REMOVALS.items():
            begin = time.process_time()
            results[name] = make().remove(
                one.local + one.background + noise, one.mask, voxel_size=one.voxel_size
            )
            seconds[name].append(time.process_time() - begin)
        shared = torch.stack([result.mask for result in results.values()]).all(0)
        for name, result in results.items():
            own[name].append(error(result.field, one.local, result.mask))
            common[name].append(error(result.field, one.local, shared))
            kept[name].append(100 * float(result.mask.sum() / one.mask.sum()))
    print(f"{heads} heads of {one.mask.numel()} voxels, noise {NOISE} ppm; mean (least to most)")
    print(
        f"{'method':9} {'error where kept, %':>24} {'error where all keep, %':>26} {'kept, %':>8} {'CPU s':>6}"
    )
    for name in names:
        cells = [f"{sum(v) / len(v):7.1f} ({min(v):.1f} to {max(v):.1f})" for v in (own[name], common[name])]
        share, cost = (sum(v) / len(v) for v in (kept[name], seconds[name]))
        print(f"{name:9} {cells[0]:>24} {cells[1]:>26} {share:8.0f} {cost:6.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
