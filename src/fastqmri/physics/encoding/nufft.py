"""The Fourier transform to samples that lie anywhere in k-space."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from fastqmri.core import ShapeError
from fastqmri.physics.encoding.nufft_plans import Plans, check_trajectory
from fastqmri.physics.encoding.operator import LinearOperator
from fastqmri.physics.encoding.toeplitz import ToeplitzGram


class _Transform(torch.autograd.Function):
    """F(x, k), or with ``adjoint`` F^H(y, k), with exact derivatives by both.

    With r_d the voxel coordinate, ∂F(x)/∂k_d = -i F(r_d x) and ∂F^H(y)/∂k_d = i r_d F^H(y): each derivative is this
    transform again, so that they nest.
    """

    @staticmethod
    def forward(x: Tensor, trajectory: Tensor, operator: NonUniformFourier, adjoint: bool) -> Tensor:
        return operator._evaluate(x, trajectory, adjoint)

    @staticmethod
    def setup_context(
        ctx: Any, inputs: tuple[Tensor, Tensor, NonUniformFourier, bool], output: Tensor
    ) -> None:
        x, trajectory, ctx.operator, ctx.adjoint = inputs
        ctx.save_for_backward(x, trajectory)
        ctx.save_for_forward(x, trajectory)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, trajectory = ctx.saved_tensors
        operator, adjoint = ctx.operator, ctx.adjoint
        by_x = by_trajectory = None
        if ctx.needs_input_grad[0]:
            by_x = _Transform.apply(gradient, trajectory, operator, not adjoint)
        if ctx.needs_input_grad[1]:
            image, samples = (gradient, x) if adjoint else (x, gradient)
            parts = []
            for coordinate in operator._coordinates(image):
                seen = _Transform.apply(image * coordinate, trajectory, operator, False)
                # Re(i y conj(F r g)) for the adjoint, Re(-i conj(g) F r x) else: one expression for both
                parts.append((samples.conj() * seen).imag)
            by_trajectory = operator._sum_to(torch.stack(parts, -1), trajectory)
        return by_x, by_trajectory, None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor | None, along: Tensor | None, *_: None) -> Tensor:
        x, trajectory = ctx.saved_tensors
        operator, adjoint = ctx.operator, ctx.adjoint
        total = None if tangent is None else _Transform.apply(tangent, trajectory, operator, adjoint)
        if along is not None:
            for axis, coordinate in enumerate(operator._coordinates(x)):
                speed = operator._to_samples(along[..., axis]).to(x.real.dtype)
                if adjoint:
                    part = 1j * coordinate * _Transform.apply(x * speed, trajectory, operator, True)
                else:
                    part = -1j * speed * _Transform.apply(x * coordinate, trajectory, operator, False)
                total = part if total is None else total + part
        assert total is not None
        return total

    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[int | None, ...],
        x: Tensor,
        trajectory: Tensor,
        operator: NonUniformFourier,
        adjoint: bool,
    ) -> tuple[Tensor, int]:
        if in_dims[1] is None:
            assert in_dims[0] is not None
            return _Transform.apply(x.movedim(in_dims[0], 0), trajectory, operator, adjoint), 0
        several = trajectory.movedim(in_dims[1], 0)
        each = [x] * len(several) if in_dims[0] is None else list(x.movedim(in_dims[0], 0))
        return torch.stack(
            [_Transform.apply(a, k, operator, adjoint) for a, k in zip(each, several, strict=True)]
        ), 0


class NonUniformFourier(LinearOperator):
    """Samples anywhere in k-space: y_s = N^(-1/2) Σ_r x_r exp(-i k_s·r), r counted from the middle voxel N//2.

    (..., *voxels) -> (..., sample), or with a trajectory for every contrast (..., contrast, coil, *voxels) ->
    (..., contrast, coil, sample). On a Cartesian grid it is `Fourier`. Derivatives by image and trajectory are exact to
    any order. On NVIDIA GPUs it takes cufinufft (extra ``cuda``), which is untested.

    Source: Barnett 2019; derivatives by the trajectory as in Wang 2022.

    Args:
        trajectory: (sample, dimension), or (contrast, sample, dimension); rad per voxel, from -π to π, axes in the
            order of the voxels. May require gradients.
        voxels: matrix, two or three sides.
        accuracy: relative; 1e-5 for single and 1e-12 for double precision if None.

    Raises:
        ShapeError: a trajectory of another dimension, images of another matrix or number of contrasts, or samples of
            another number.
        PlausibilityError: a trajectory out of range or not finite, when a plan for it is made too.
    """

    def __init__(self, trajectory: Tensor, voxels: tuple[int, ...], *, accuracy: float | None = None) -> None:
        super().__init__()
        voxels = tuple(voxels)
        if len(voxels) not in (2, 3) or trajectory.ndim not in (2, 3) or trajectory.shape[-1] != len(voxels):
            raise ShapeError(
                f"a trajectory of {tuple(trajectory.shape)} for voxels {voxels}",
                "it must be (sample, dimension) or (contrast, sample, dimension), 2 or 3 as the matrix.",
                "Flatten spokes or interleaves into one sample axis, and check the dimensions.",
            )
        if not trajectory.is_floating_point():
            trajectory = trajectory.to(torch.get_default_dtype())
        check_trajectory(trajectory)
        self.register_buffer("trajectory", trajectory)
        self.accuracy = accuracy
        self.domain = voxels
        self.range = (int(trajectory.shape[-2]),)
        self.scale = 1 / math.sqrt(math.prod(voxels))
        self._plans = Plans(voxels)
        self._density: tuple[Tensor, Tensor] | None = None  # of this trajectory

    trajectory: Tensor
    domain: tuple[int, ...]
    range: tuple[int, ...]

    @property
    def contrasts(self) -> int:
        """Number of trajectories; 1 serves all contrasts."""
        return int(self.trajectory.shape[0]) if self.trajectory.ndim == 3 else 1

    def forward(self, x: Tensor) -> Tensor:
        """Samples of images."""
        self._check(x, self.domain, "images")
        return _Transform.apply(_complex(x), self.trajectory, self, False)

    def adjoint(self, y: Tensor) -> Tensor:
        """Images of samples, each with weight one."""
        self._check(y, self.range, "samples")
        return _Transform.apply(_complex(y), self.trajectory, self, True)

    def zero_filled(self, y: Tensor) -> Tensor:
        """Images of samples with the weights of `fixed_point_density`, found at the first call and kept."""
        from fastqmri.physics.encoding.density import fixed_point_density

        if self._density is None or not torch.equal(self._density[0], self.trajectory):
            weights = fixed_point_density(self.trajectory, self.domain)
            self._density = self.trajectory.detach().clone(), weights
        weights = self._density[1].to(y.real.dtype)
        return self.adjoint(y * (weights[:, None] if weights.ndim == 2 else weights))

    @property
    def gram(self) -> LinearOperator:
        """F^H F by two Fourier transforms of the doubled matrix."""
        return self.weighted_gram(None)

    def weighted_gram(self, weights: Tensor | None) -> ToeplitzGram:
        """F^H W F by Fourier transforms; see `ToeplitzGram`.

        Args:
            weights: of the samples, (sample,) or (contrast, sample), real; one if None.
        """
        if weights is None:
            weights = torch.ones_like(self.trajectory[..., 0])
        shape = torch.broadcast_shapes(weights.shape, self.trajectory.shape[:-1])
        trajectory = self.trajectory.expand(*shape, len(self.domain)) if len(shape) == 2 else self.trajectory
        double = NonUniformFourier(
            trajectory.double(),
            tuple(2 * side for side in self.domain),
            accuracy=self.accuracy if self.trajectory.dtype == torch.float64 else self.accuracy or 1e-7,
        )
        weights = weights.expand(shape).double()
        # the doubled matrix has scale (2^d N)^(-1/2), the Gram operator 1/N
        kernel = double.adjoint(weights[:, None] if len(shape) == 2 else weights) * (
            self.scale**2 / double.scale
        )
        return ToeplitzGram(kernel.to(_complex(self.trajectory[:0]).dtype), self.domain)

    def _check(self, tensor: Tensor, last: tuple[int, ...], what: str) -> None:
        axes = len(last)
        right = tuple(tensor.shape[-axes:]) == last
        contrast = tensor.shape[-axes - 2] if tensor.ndim >= axes + 2 else None
        if right and (self.contrasts == 1 or contrast == self.contrasts):
            return
        raise ShapeError(
            f"{what} of {tuple(tensor.shape)} for a trajectory of {tuple(self.trajectory.shape)}, voxels {self.domain}",
            f"the last axes must be {last}"
            + ("." if self.contrasts == 1 else f", after {self.contrasts} contrasts and the coils."),
            "Check the order of the axes (contrast, coil, voxels or samples), and that the trajectory is of this scan.",
        )

    def _evaluate(self, x: Tensor, trajectory: Tensor, adjoint: bool) -> Tensor:
        """The bare transform of (..., *voxels), or (..., sample)."""
        accuracy = self.accuracy or (1e-5 if x.dtype == torch.complex64 else 1e-12)
        last = self.range if adjoint else self.domain
        contrasts = self.contrasts
        lead = x.shape[: x.ndim - len(last)]
        source = x if adjoint else x * self.scale
        # one row of transforms for each trajectory
        rows = source.reshape(-1, contrasts, lead[-1] if contrasts > 1 else 1, *last).transpose(0, 1)
        several = trajectory if trajectory.ndim == 3 else trajectory[None]
        outs = []
        for contrast in range(contrasts):
            block = rows[contrast].reshape(-1, *last)
            outs.append(self._plans.execute(block, several[contrast].detach(), contrast, adjoint, accuracy))
        out = outs[0]
        if contrasts > 1:
            out = torch.stack([o.reshape(-1, lead[-1], *o.shape[1:]) for o in outs], 1)
        if adjoint:
            out *= self.scale
        return out.reshape(*lead, *(self.domain if adjoint else self.range))

    def _coordinates(self, like: Tensor) -> list[Tensor]:
        """r_d of every voxel, counted from the middle, broadcastable."""
        dimensions = len(self.domain)
        return [
            (torch.arange(side, device=like.device) - side // 2)
            .to(like.real.dtype)
            .view(-1, *(1,) * (dimensions - 1 - axis))
            for axis, side in enumerate(self.domain)
        ]

    def _to_samples(self, along: Tensor) -> Tensor:
        """(contrast, sample) of the trajectory, with room for the coils."""
        return along[:, None] if self.trajectory.ndim == 3 else along

    def _sum_to(self, full: Tensor, trajectory: Tensor) -> Tensor:
        """Gradient (..., [contrast, coil], sample, dimension) summed to the trajectory's shape."""
        if trajectory.ndim == 3:
            if trajectory.shape[0] == 1:
                full = full.reshape(1, -1, *full.shape[-2:])
            full = full.sum(-3)
        extra = full.ndim - trajectory.ndim
        if extra:
            full = full.sum(tuple(range(extra)))
        return full.to(trajectory.dtype)


def _complex(x: Tensor) -> Tensor:
    if x.is_complex():
        return x
    return x.to(torch.complex128 if x.dtype == torch.float64 else torch.complex64)
