"""How long ESPIRiT and Poisson discs take, and what the maps miss: a table, nothing is asserted.

    python benchmarks/coil_maps.py

Synthetic maps of 8 coils on an elliptic object, calibration of 24 samples an axis, one thread. "missed" is the largest
1 - |cosine| between the true and the estimated coil vectors inside the object.
"""

from __future__ import annotations

import time

import torch

from fastqmri.estimators.reconstruction.coil_maps import calibration_region, espirit, walsh
from fastqmri.physics.encoding import Fourier, poisson_disc, synthetic_sensitivities


def main() -> None:
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(1)
    for voxels in ((128, 128), (256, 256), (48, 64, 64)):
        maps = synthetic_sensitivities(voxels, 8, generator=generator)
        axes = torch.meshgrid(*[torch.linspace(-1, 1, side) for side in voxels], indexing="ij")
        inside = sum((axis / 0.7) ** 2 for axis in axes) < 1
        image = inside * (1 + 0.5 * torch.sin(9 * axes[0]) * torch.cos(7 * axes[1]))
        kspace = Fourier(len(voxels))(maps * image)[None]
        kspace = kspace + 0.01 * torch.randn(kspace.shape, dtype=kspace.dtype, generator=generator)
        region = calibration_region(torch.ones(1, *voxels, dtype=torch.bool))
        for method in (espirit, walsh):
            begin = time.process_time()
            found = method(kspace[(slice(None), slice(None), *region)], voxels)
            seconds = time.process_time() - begin
            missed = 1 - float((found.maps.conj() * maps).sum(0).abs()[inside].min())
            print(f"{method.__name__:8s} {voxels!s:14s} {seconds:6.2f} CPU s, missed {missed:.1e}")
    poisson_disc((16, 16), 1, 3, generator=generator)  # compiles
    for matrix, acceleration in (((256, 256), 8), ((230, 180), 5)):
        begin = time.process_time()
        masks = poisson_disc(matrix, 8, acceleration, generator=generator)
        seconds = (time.process_time() - begin) / 8
        found = masks.numel() / masks.sum()
        print(f"Poisson disc {matrix!s} R {acceleration}: {1e3 * seconds:.0f} CPU ms a mask, R {found:.3f}")


if __name__ == "__main__":
    main()
