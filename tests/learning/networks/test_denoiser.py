"""Denoisers on planes and volumes of any size."""

from __future__ import annotations

import pytest
import torch

from fastqmri.core import ShapeError
from fastqmri.learning.networks.denoiser import Denoiser, gathered, spread_out


def _awake(network: Denoiser) -> Denoiser:
    with torch.no_grad():
        network.leave[1].weight.normal_(std=0.1)
    return network


@pytest.mark.parametrize(("dimensions", "sides"), [(2, (7, 10)), (3, (6, 5, 9))])
@pytest.mark.parametrize("coarse", [1, 2])
@pytest.mark.parametrize("groups", [0, 4])
def test_any_matrix_and_channels(dimensions, sides, coarse, groups) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    network = Denoiser(
        3, 2, width=8, blocks=2, groups=groups, coarse=coarse, dimensions=dimensions, dropout=0.1
    )
    x = torch.randn(2, 3, *sides)
    assert torch.equal(network(x), torch.zeros(2, 2, *sides))  # begins by adding nothing
    _awake(network).eval()
    both = network(x)
    assert both.shape == (2, 2, *sides)
    assert torch.allclose(both[1:], network(x[1:]), atol=1e-5)
    both.sum().backward()
    assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in network.parameters())


def test_blocks_of_voxels_as_channels_and_back() -> None:
    x = torch.arange(2 * 3 * 4 * 6 * 8.0).reshape(2, 3, 4, 6, 8)
    there = gathered(x, 2)
    assert there.shape == (2, 24, 2, 3, 4)
    # block (1, 2, 3), the part with offsets (1, 0, 1) of channel 1
    assert there[0, 8 + 5, 1, 2, 3] == x[0, 1, 3, 4, 7]
    assert torch.equal(spread_out(there, 2), x)


def test_a_shift_by_whole_blocks_shifts_the_result() -> None:
    torch.manual_seed(0)
    network = _awake(Denoiser(1, 1, width=4, blocks=1, coarse=2)).eval()
    x = torch.zeros(1, 1, 32, 32, 32)
    x[..., 14:18, 14:18, 14:18] = torch.randn(4, 4, 4)
    middle = slice(11, 21)
    moved = network(x.roll(2, -1)).roll(-2, -1)
    assert torch.allclose(
        network(x)[..., middle, middle, middle], moved[..., middle, middle, middle], atol=1e-6
    )


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ShapeError):
        Denoiser(1, 1)(torch.zeros(1, 1, 4, 4))
    with pytest.raises(ShapeError):
        Denoiser(1, 1, dimensions=1)
