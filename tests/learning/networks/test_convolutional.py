"""U-Net and residual network: sizes, padding, first output, what a level does."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from fastqmri.core import PlausibilityError
from fastqmri.learning.networks.residual import ResidualNetwork
from fastqmri.learning.networks.unet import UNet, padded


@pytest.mark.parametrize("voxels", [(16, 12), (13, 7), (8, 9, 6), (5, 5, 5)])
@pytest.mark.parametrize("groups", [None, 2])
def test_any_matrix_and_channels(voxels: tuple[int, ...], groups: int | None) -> None:
    x = torch.randn(2, 3, *voxels)
    for network in (
        UNet(3, 5, (4, 6, 8), dimensions=len(voxels), groups=groups),
        ResidualNetwork(3, 5, 4, 2, dimensions=len(voxels), groups=groups),
    ):
        out = network(x)
        assert out.shape == (2, 5, *voxels)
        assert not out.any()  # corrections start from what they correct


@pytest.mark.parametrize("kind", [lambda: UNet(2, 3, (4, 6)), lambda: ResidualNetwork(2, 3, 4, 2)])
def test_every_weight_learns(kind: type[nn.Module]) -> None:
    network = kind()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)
    network(torch.randn(2, 2, 8, 8)).square().sum().backward()
    assert all(bool(p.grad.abs().sum() > 0) for p in network.parameters() if p.grad is not None)
    assert all(p.grad is not None for p in network.parameters())


def test_one_level_is_its_convolutions() -> None:
    network = UNet(2, 3, (4,))
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)
    x = torch.randn(1, 2, 6, 7)
    first, second = (m for m in network.down[0] if isinstance(m, nn.Conv2d))  # type: ignore[union-attr]
    y = functional.leaky_relu(functional.conv2d(x, first.weight, first.bias, padding=1), 0.1)
    y = functional.leaky_relu(functional.conv2d(y, second.weight, second.bias, padding=1), 0.1)
    expected = functional.conv2d(y, network.last.weight, network.last.bias)
    torch.testing.assert_close(network(x), expected)


def test_padding_mirrors_at_the_far_end() -> None:
    x = torch.randn(1, 2, 6, 5)
    torch.testing.assert_close(padded(x, 8), functional.pad(x, (0, 3, 0, 2), mode="reflect"))
    assert padded(torch.randn(1, 1, 1, 2), 8).shape == (1, 1, 8, 8)


def test_impossible_sizes_are_refused() -> None:
    for make in (
        lambda: UNet(2, 2, ()),
        lambda: UNet(0, 2),
        lambda: UNet(2, 2, dimensions=1),
        lambda: ResidualNetwork(2, 2, 0),
    ):
        with pytest.raises(PlausibilityError):
            make()
