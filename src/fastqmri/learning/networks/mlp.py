"""Multilayer perceptrons for single voxels: any widths and activations."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Literal, final

import torch
from torch import Tensor, nn

from fastqmri.core import UnknownNameError

Activation = Literal["relu", "silu", "tanh", "gelu", "elu", "sigmoid", "none"]
_MODULES: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "elu": nn.ELU,
    "sigmoid": nn.Sigmoid,
    "none": nn.Identity,
}
_IN_PLACE: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu_,
    "silu": lambda x: nn.functional.silu(x, inplace=True),
    "tanh": torch.tanh_,
    "gelu": nn.functional.gelu,
    "elu": lambda x: nn.functional.elu(x, inplace=True),
    "sigmoid": torch.sigmoid_,
    "none": lambda x: x,
}


@final
class MLP(nn.Module):
    """Fully connected layers, for the features of one voxel.

    Args:
        inputs: features of a voxel.
        widths: of the hidden layers.
        outputs: numbers returned.
        activation: after every hidden layer; ``relu``, ``silu``, ``tanh``, ``gelu``, ``elu``, ``sigmoid`` or ``none``.
        last: activation after the last layer.
        residual: add a hidden layer's input to its output, where both are equally wide.
        normalise: batch normalisation before every hidden activation.
        dropout: share of the hidden values that training leaves out.
        generator: of the weights; None draws from the global one.

    Raises:
        UnknownNameError: an activation that does not exist here.
    """

    def __init__(
        self,
        inputs: int,
        widths: Sequence[int],
        outputs: int,
        activation: Activation = "silu",
        last: Activation = "none",
        *,
        residual: bool = False,
        normalise: bool = False,
        dropout: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        for name in (activation, last):
            if name not in _MODULES:
                raise UnknownNameError(
                    f"activation {name!r}", "no layer has it.", f"Use one of {', '.join(_MODULES)}."
                )
        sizes = [inputs, *widths, outputs]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for width in widths if normalise)
        self.widest = max(sizes[1:])
        self.activation, self.last, self.residual = activation, last, residual
        self._activate, self._end = _MODULES[activation](), _MODULES[last]()
        self._drop = nn.Dropout(dropout)
        if generator is not None:
            self._draw(generator)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs (voxel, output) of features (voxel, input)."""
        for number, layer in enumerate(self.layers[:-1]):
            y = layer(x)
            if len(self.norms):
                y = self.norms[number](y)
            y = self._drop(self._activate(y))
            x = x + y if self.residual and y.shape[-1] == x.shape[-1] else y
        end: Tensor = self._end(self.layers[-1](x))
        return end

    def columns(self) -> Callable[[Tensor], Tensor]:
        """A function that does what `forward` does after training, lean and without gradients.

        It takes (input, voxel) and returns (output, voxel). Batch normalisation is folded into the layers, and a
        block of voxels small enough to stay in the cache is worked on in place.
        """
        folded = [
            (weight.detach().contiguous(), bias.detach()[:, None].contiguous())
            for weight, bias in map(self._folded, range(len(self.layers)))
        ]
        activate, end, residual = _IN_PLACE[self.activation], _IN_PLACE[self.last], self.residual

        def run(x: Tensor) -> Tensor:
            for weight, bias in folded[:-1]:
                y = activate(torch.addmm(bias, weight, x))
                x = y.add_(x) if residual and y.shape[0] == x.shape[0] else y
            weight, bias = folded[-1]
            return end(torch.addmm(bias, weight, x))

        return run

    def _folded(self, number: int) -> tuple[Tensor, Tensor]:
        """Weight and bias of a layer and its normalisation together."""
        layer = self.layers[number]
        weight, bias = layer.weight, layer.bias
        assert isinstance(weight, Tensor)
        assert isinstance(bias, Tensor)
        if number >= len(self.norms):
            return weight, bias
        norm = self.norms[number]
        assert isinstance(norm, nn.BatchNorm1d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        return weight * scale[:, None], (bias - norm.running_mean) * scale + norm.bias

    def _draw(self, generator: torch.Generator) -> None:
        """Weights as `nn.Linear` draws them, from a generator of one's own."""
        with torch.no_grad():
            for layer in self.layers:
                assert isinstance(layer, nn.Linear)
                span = layer.in_features**-0.5
                layer.weight.uniform_(-span, span, generator=generator)
                layer.bias.uniform_(-span, span, generator=generator)
