"""Perceptrons: the lean form does what the trained one does."""

import pytest
import torch

from fastqmri.core import UnknownNameError
from fastqmri.learning.networks.mlp import MLP


@pytest.mark.parametrize("activation", ["relu", "silu", "tanh", "gelu", "elu", "sigmoid", "none"])
@pytest.mark.parametrize(("residual", "normalise"), [(False, False), (True, False), (True, True)])
def test_lean_form_equals_the_network(generator, activation, residual, normalise):
    network = MLP(
        5,
        (8, 8, 6),
        2,
        activation,
        "tanh",
        residual=residual,
        normalise=normalise,
        dropout=0.3,
        generator=generator,
    )
    x = torch.randn(50, 5, generator=generator)
    network(3 * x + 1)  # moves the running means
    network.eval()
    torch.testing.assert_close(network.columns()(x.T.contiguous()).T, network(x), atol=2e-6, rtol=2e-6)


def test_a_perceptron_written_out(generator):
    network = MLP(3, (4,), 2, "tanh", generator=generator).eval()
    (first, second), x = network.layers, torch.randn(7, 3, generator=generator)
    by_hand = torch.tanh(x @ first.weight.T + first.bias) @ second.weight.T + second.bias
    torch.testing.assert_close(network(x), by_hand)


def test_same_generator_same_weights():
    one, other = (MLP(3, (4,), 2, generator=torch.Generator().manual_seed(5)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_unknown_activation():
    with pytest.raises(UnknownNameError, match="silu"):
        MLP(3, (4,), 2, "swoosh")
