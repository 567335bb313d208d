"""Brains with two pools: what is drawn, what shared voxels hold, and signals that add."""

from __future__ import annotations

import pytest
import torch

from fastqmri.core import QuantitativeMagnetizationTransfer
from fastqmri.phantoms.anatomy import CSF, GREY, WHITE, Anatomy
from fastqmri.phantoms.two_pools import TISSUES, two_pool_brain
from fastqmri.physics.signal import RamaniSignal

MODEL = RamaniSignal(
    QuantitativeMagnetizationTransfer(
        saturation_angle=(2.5, 2.5, 7.4, 7.4),
        offset=(443.0, 17235.0, 443.0, 17235.0),
        pulse_duration=0.0102,
        repetition_time=0.025,
    ),
    normalised=True,
    water="measured",
)


@pytest.fixture
def anatomy() -> Anatomy:
    labels = torch.zeros(40, 44, 24, dtype=torch.uint8)
    labels[4:36, 4:40, 2:22], labels[8:32, 9:35, 4:20], labels[15:24, 17:26, 4:20] = 1, 2, 3
    affine = torch.diag(torch.tensor([5.0, 5.0, 5.0, 1.0], dtype=torch.float64))
    affine[:3, 3] = -5 * torch.tensor([20.0, 22.0, 12.0])
    return Anatomy("brainweb-04", labels, ("outside", GREY, WHITE, CSF), affine, ())


def test_tissues_lie_in_their_ranges_and_are_the_same_for_the_same_seed(
    anatomy: Anatomy, generator: torch.Generator
) -> None:
    state = generator.get_state()
    phantom = two_pool_brain(anatomy, generator=generator, voxels=(25, 22), texture=(0.0, 0.0))
    again = two_pool_brain(anatomy, generator=generator.set_state(state), voxels=(25, 22), texture=(0.0, 0.0))
    assert all(torch.equal(phantom.maps[name], again.maps[name]) for name in phantom.maps)
    for number, name in enumerate(phantom.names[1:], 1):
        here = phantom.pure & (phantom.labels == number)
        assert int(here.sum()) > 3
        ranges = TISSUES[name]
        f, kf = phantom.maps["F"][here], phantom.maps["kf"][here]
        low, high = ranges["F"]
        assert bool(((f >= low) & (f <= high)).all())
        low, high = ranges.get("kf") or ranges["kr"]
        rate = kf if "kf" in ranges else kf / f
        assert bool(((rate >= low - 1e-9) & (rate <= high + 1e-9)).all())


def test_signals_of_tissues_in_one_voxel_add(anatomy: Anatomy, generator: torch.Generator) -> None:
    phantom = two_pool_brain(anatomy, generator=generator, voxels=(25, 22), texture=(0.0, 0.0))
    assert phantom.fractions is not None
    mixed = phantom.mask & ~phantom.pure
    assert int(mixed.sum()) > 10
    of = phantom.values
    pure = torch.stack(
        [
            torch.ones(3, dtype=torch.float64),
            of["F"],
            of["kf"] / of["F"],
            1 / of["R2f"],
            of["T2r"],
            of["R1"],
            torch.ones(3, dtype=torch.float64),
            torch.zeros(3, dtype=torch.float64),
        ]
    )
    wanted = torch.einsum("ct,tv->cv", MODEL.forward(pure), phantom.fractions[:, mixed].double())
    assert torch.allclose(phantom.signal(MODEL)[:, mixed], wanted, atol=1e-7)
    mean = torch.einsum("t,tv->v", of["kf"], phantom.fractions[:, mixed].double())
    assert torch.allclose(phantom.maps["kf"][mixed], mean)
    assert torch.allclose(phantom.fractions[:, phantom.mask].sum(0), torch.ones(int(phantom.mask.sum())))
