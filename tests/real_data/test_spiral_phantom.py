"""A phantom scanned with 54 spirals and 20 coils, and its field map: images, and the sign of the field.

The map's offset of -185 Hz is not in the spiral scan, which was on resonance to about 40 Hz, and the trajectory lags
half a sample behind the file's; both are fitted here. What is left of the field, 20 Hz in 3 ms, changes little.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fastqmri.core import Measurement, MultiEchoSpinEcho
from fastqmri.estimators.reconstruction.images import ConjugateGradientSense, ZeroFilled
from fastqmri.physics.encoding import NonUniformFourier, OffResonance, Sensitivities, fixed_point_density
from fastqmri.solvers.conjugate_gradient import conjugate_gradient

SIDE, VOXEL, DWELL = 192, 2e-3, 10e-6
TWICE = MultiEchoSpinEcho(echo_time=(4.6e-3, 9.2e-3))  # a stand-in: no acquisition has one contrast only


def loaded(folder: Path, delay: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
    """k-space (coil, shot, sample), trajectory (shot, sample, 2) that lags by ``delay`` samples, field map in Hz."""
    with np.load(folder / "acr_spiral.npz") as file:
        data, places, field = file["dat"], file["ktraj"].T, file["b0_hz"][..., 0]
    number = np.arange(places.shape[1])
    late = number - delay
    places = np.array(
        [np.interp(late, number, own.real) + 1j * np.interp(late, number, own.imag) for own in places]
    )
    trajectory = 2 * math.pi * VOXEL * torch.view_as_real(torch.tensor(places))
    kspace = torch.tensor(data).permute(2, 1, 0)
    return kspace / kspace.abs().max(), trajectory.float(), torch.tensor(field).float()


def compressed(kspace: Tensor, coils: int) -> Tensor:
    """The strongest virtual coils, (coil, sample)."""
    flat = kspace.flatten(1)
    return torch.linalg.svd(flat, full_matrices=False)[0].mH[:coils] @ flat


def coil_maps(fourier: NonUniformFourier, data: Tensor) -> Tensor:
    """Of images of the middle of k-space."""
    low = torch.exp(-((fourier.trajectory.norm(dim=-1) / (0.12 * math.pi)) ** 2) / 2)
    images = fourier.zero_filled(data * low)
    return images / images.abs().square().sum(0).sqrt()


def disc() -> Tensor:
    """Where the phantom is: 19 cm across."""
    x, y = torch.meshgrid(*[torch.arange(SIDE)] * 2, indexing="ij")
    return ((x - 94) ** 2 + (y - 93) ** 2 < 49**2).float()


def test_images_show_the_phantom(test_data: Callable[[str], Path]):
    kspace, trajectory, _ = loaded(test_data("acr_spiral_20ch_octopus"), 0.5)
    data = compressed(kspace, 8)
    fourier = NonUniformFourier(trajectory.flatten(0, 1), (SIDE, SIDE))
    encoding = fourier @ Sensitivities(coil_maps(fourier, data), 2)
    measurement = Measurement(data.expand(2, -1, -1), TWICE, encoding=encoding)
    assert encoding.range == (8, 54 * 310)
    inside = disc() > 0
    edge_rows = torch.tensor([45, 143])  # just within and without the rim, and the slot on the left
    for stage in (ZeroFilled(), ConjugateGradientSense(iterations=10)):
        images = stage.reconstruct(measurement)
        assert torch.allclose(images[0], images[1], atol=1e-4 * float(images.abs().max()))
        image = images[0].abs()
        assert float(image[~inside].square().mean() / image[inside].square().mean()) < 0.01
        assert float(image[edge_rows, 93].max()) < 0.6 * float(image[inside].median())
        assert float(image[97, 46:50].max()) < 0.5 * float(image[inside].median())  # the slot
    # the iterations explain the data, gaps between the turns included
    assert float((encoding(images)[0] - data).norm() / data.norm()) < 0.06


def test_the_field_has_the_right_sign(test_data: Callable[[str], Path]):
    """Images confined to the phantom, one of each coil, explain the data better with the field than without, and worse
    with its negative, at the best frequency of each."""
    kspace, trajectory, field = loaded(test_data("acr_spiral_20ch_octopus"), 0.5)
    inside = disc()
    # its values wrap at 203 Hz; neighbours are averaged, also to go beyond the rim
    field = torch.where(field > 0, field - 406.5, field)
    known = inside * (field > -260)
    centred = (field - field[known > 0].median()) * known
    smooth, share = (F.avg_pool2d(m[None], 7, 1, 3)[0] for m in (centred, known))
    field = smooth / share.clamp_min(1e-3) * inside
    keep = slice(3, -4)  # samples whose place is not interpolated
    data = compressed(kspace[..., keep], 2)
    trajectory = trajectory[:, keep].flatten(0, 1)
    times = (DWELL * torch.arange(310))[keep].repeat(54)
    fourier = NonUniformFourier(trajectory, (SIDE, SIDE))
    root = fixed_point_density(trajectory, (SIDE, SIDE)).float().sqrt()

    def residual(offset: Tensor) -> float:
        operator = OffResonance(fourier, offset, times, tolerance=3e-3, weights=inside)
        images = conjugate_gradient(
            lambda x: inside * operator.adjoint(root * operator(inside * x)),
            inside * operator.adjoint(root * data),
            iterations=8,
            dimensions=2,
        )
        return float((operator(inside * images) - data).norm() / data.norm())

    best = {
        sign: min(residual((sign * field + f) * inside) for f in (-60.0, -40.0, -20.0)) for sign in (1, 0, -1)
    }
    assert best[1] < best[0] < best[-1], best
