"""Closed-form diffusion: tensor, apparent coefficient, intravoxel incoherent motion."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from fastqmri.core import AcquisitionError, DiffusionWeighted, Parameter
from fastqmri.physics.signal.model import Derived, LogLinear, Separable, SignalModel, log_start

S0 = Parameter("S0", "arbitrary", (0.0, 1e12), (0.5, 1.5), "signal without diffusion weighting")
TENSOR_ELEMENTS = ("Dxx", "Dxy", "Dxz", "Dyy", "Dyz", "Dzz")


@final
class DiffusionTensor(SignalModel):
    """Gaussian diffusion in three dimensions.

    S0 exp(-b gᵀ D g), elements in the order Dxx, Dxy, Dxz, Dyy, Dyz, Dzz (the lower triangle of NIfTI).

    Source: Basser 1994.

    Raises:
        AcquisitionError: no b-vectors, or fewer than six independent directions.
    """

    title = "Diffusion tensor"
    equation = "S0 * exp(-b*(gx^2*Dxx + 2*gx*gy*Dxy + 2*gx*gz*Dxz + gy^2*Dyy + 2*gy*gz*Dyz + gz^2*Dzz))"
    references = ("basser1994", "zhu2023")
    acquisition: DiffusionWeighted

    def __init__(self, acquisition: DiffusionWeighted) -> None:
        elements = tuple(
            Parameter(
                name,
                "mm2/s",
                (-0.02, 0.02),
                (0.0, 3e-3) if name[1] == name[2] else (-1e-3, 1e-3),
                f"element {name[1:]} of the diffusion tensor",
            )
            for name in TENSOR_ELEMENTS
        )
        super().__init__(acquisition, (S0, *elements))
        design = self.design()
        # nine decades between the columns otherwise: b in units of its largest for the rank
        if int(torch.linalg.matrix_rank(design / design.abs().amax(0).clamp_min(1e-12))) < 7:
            raise AcquisitionError(
                f"{acquisition.contrasts} volumes, b-values {sorted(set(acquisition.b_value))}",
                "a tensor needs at least six independent directions and two b-values.",
                "Use the adc model, or check the b-vectors.",
            )
        self.derived = tuple(Derived(p, _alone(f)) for p, f in _TENSOR_MEASURES)

    def derive(self, x: Tensor) -> list[tuple[Tensor, Tensor]]:
        """All measures from one look at the eigenvalues and the principal direction."""
        shape = _shape(x)
        return [f(x, shape) for _, f in _TENSOR_MEASURES]

    def design(self, like: Tensor | None = None) -> Tensor:
        """(contrast, 7) matrix X with ln signal = X (ln S0, D)."""
        if self.acquisition.b_vector is None:
            raise AcquisitionError("no b-vectors", "a tensor needs directions.", "Give --bvec, or use adc.")
        b = self.acquisition.tensor("b_value", like)
        gx, gy, gz = self.acquisition.tensor("b_vector", like).unbind(1)
        columns = [gx * gx, 2 * gx * gy, 2 * gx * gz, gy * gy, 2 * gy * gz, gz * gz]
        return torch.stack([torch.ones_like(b), *(-b * c for c in columns)], 1)

    def forward(self, x: Tensor) -> Tensor:
        """Signal (contrast, *voxels) of (S0, tensor)."""
        return x[0] * self._attenuation(x)[0]

    def jacobian(self, x: Tensor) -> Tensor:
        """∂signal/∂(S0, tensor)."""
        return self.evaluate(x)[1]

    def evaluate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Signal and Jacobian."""
        unit, columns = self._attenuation(x)
        signal = x[0] * unit
        return signal, torch.cat([unit[:, None], columns * signal[:, None]], 1)

    def _attenuation(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """exp(-b gᵀ D g), and the columns of the design that belong to D, (contrast, 6, 1, …).

        Summed element by element: a matrix product would round a voxel by the number of its neighbours.
        """
        columns = self.design(like=x)[:, 1:].reshape(-1, 6, *(1,) * (x.ndim - 1))
        exponent = columns[:, 0] * x[1]
        for k in range(1, 6):
            exponent = exponent + columns[:, k] * x[1 + k]
        return torch.exp(exponent), columns

    def log_linear(self, known: Mapping[str, Tensor] | None = None) -> LogLinear:
        """ln S0 and b_max D are the unknowns."""
        return _scaled_log_linear(self.design())

    def start(self, data: Tensor, weights: Tensor | None = None) -> Tensor:
        """Ordinary least squares of the logarithms."""
        return self._clamp(log_start(self.log_linear(), data, weights))


@final
class ApparentDiffusion(SignalModel):
    """Apparent diffusion coefficient of trace-weighted (or single-direction) images.

    S0 exp(-b ADC).

    Source: Le Bihan 1988.
    """

    title = "Apparent diffusion coefficient"
    equation = "S0 * exp(-b*ADC)"
    references = ("lebihan1988",)
    acquisition: DiffusionWeighted

    def __init__(self, acquisition: DiffusionWeighted) -> None:
        adc = Parameter("ADC", "mm2/s", (1e-6, 0.02), (1e-5, 4e-3), "apparent diffusion coefficient")
        super().__init__(acquisition, (S0, adc))

    def design(self, like: Tensor | None = None) -> Tensor:
        """(contrast, 2) matrix X with ln signal = X (ln S0, ADC)."""
        b = self.acquisition.tensor("b_value", like)
        return torch.stack([torch.ones_like(b), -b], 1)

    def log_linear(self, known: Mapping[str, Tensor] | None = None) -> LogLinear:
        """ln S0 and b_max ADC are the unknowns."""
        return _scaled_log_linear(self.design())

    def forward(self, x: Tensor) -> Tensor:
        """Signal (contrast, *voxels) of (S0, ADC)."""
        return x[0] * torch.exp(-self._times("b_value", x) * x[1])

    def jacobian(self, x: Tensor) -> Tensor:
        """∂signal/∂(S0, ADC)."""
        b = self._times("b_value", x)
        unit = torch.exp(-b * x[1])
        return torch.stack([unit, -b * x[0] * unit], 1)

    def separable(self) -> Separable:
        """S0 exp(-b ADC) as it stands."""

        def to_parameters(z: Tensor) -> tuple[Tensor, Tensor]:
            identity = torch.eye(2, dtype=z.dtype, device=z.device)[:, :, None]
            return z, identity.expand(2, 2, z.shape[1])

        b = self.acquisition.tensor("b_value")
        low, high = self.parameters[1].bounds
        return Separable("exponential", b[None], False, (low, high), to_parameters)


@final
class IntravoxelIncoherentMotion(SignalModel):
    """Diffusion with a fast-decaying perfusion fraction (IVIM).

    S0 (f exp(-b Dstar) + (1 - f) exp(-b D)).

    Source: Le Bihan 1988.
    """

    title = "Intravoxel incoherent motion"
    equation = "S0 * (f*exp(-b*Dstar) + (1 - f)*exp(-b*D))"
    references = ("lebihan1988",)
    acquisition: DiffusionWeighted

    def __init__(self, acquisition: DiffusionWeighted) -> None:
        super().__init__(
            acquisition,
            (
                S0,
                Parameter("f", "1", (0.0, 1.0), (0.01, 0.5), "perfusion fraction"),
                Parameter("D", "mm2/s", (1e-6, 0.005), (2e-4, 3e-3), "tissue diffusivity"),
                Parameter("Dstar", "mm2/s", (0.003, 0.3), (0.005, 0.1), "pseudo-diffusivity of perfusion"),
            ),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Signal (contrast, *voxels) of (S0, f, D, Dstar)."""
        return self.evaluate(x)[0]

    def jacobian(self, x: Tensor) -> Tensor:
        """∂signal/∂(S0, f, D, Dstar)."""
        return self.evaluate(x)[1]

    def evaluate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Signal and Jacobian."""
        s0, f, slow, fast = x
        b = self._times("b_value", x)
        quick, tissue = torch.exp(-b * fast), torch.exp(-b * slow)
        unit = f * quick + (1 - f) * tissue
        columns = [unit, s0 * (quick - tissue), -s0 * (1 - f) * b * tissue, -s0 * f * b * quick]
        return s0 * unit, torch.stack(columns, 1)


def _scaled_log_linear(design: Tensor) -> LogLinear:
    """Columns of b-values divided by the largest one: unknowns of order one."""
    scale = design[:, 1:].abs().amax()
    scaled = torch.cat([design[:, :1], design[:, 1:] / scale], 1)

    def one_by_one(beta: Tensor) -> tuple[Tensor, Tensor]:
        s0 = torch.exp(beta[:1])
        rates = beta[1:] / scale.to(beta)
        return torch.cat([s0, rates]), torch.cat([s0, torch.full_like(rates, float(1 / scale))])

    def to_parameters(beta: Tensor) -> tuple[Tensor, Tensor]:
        x, diagonal = one_by_one(beta)
        return x, torch.diag_embed(diagonal.movedim(0, -1)).movedim((-2, -1), (0, 1))

    return LogLinear(scaled, to_parameters, one_by_one)


def tensor_eigenvalues(elements: Tensor) -> Tensor:
    """Eigenvalues (3, *voxels), descending, of symmetric tensors (6, *voxels) in the order of TENSOR_ELEMENTS.

    Trigonometric solution of the characteristic cubic, elementwise: batched small matrices are slow.
    """
    xx, xy, xz, yy, yz, zz = elements
    mean = (xx + yy + zz) / 3
    a, b, c = xx - mean, yy - mean, zz - mean
    off = xy * xy + xz * xz + yz * yz
    p = torch.sqrt((a * a + b * b + c * c + 2 * off) / 6)
    safe = torch.where(p > 0, p, torch.ones_like(p))
    determinant = a * (b * c - yz * yz) - xy * (xy * c - yz * xz) + xz * (xy * yz - b * xz)
    angle = torch.acos((determinant / (2 * safe**3)).clamp(-1, 1)) / 3
    first = mean + 2 * p * torch.cos(angle)
    last = mean + 2 * p * torch.cos(angle + 2 * math.pi / 3)
    middle = (3 * mean - first - last).clamp(last, first)  # rounding must not upset the order of equal ones
    return torch.stack([first, middle, last])


def principal_direction(elements: Tensor) -> Tensor:
    """Unit eigenvector (3, *voxels) of the largest eigenvalue; zero where the tensor is isotropic."""
    return _direction(elements, tensor_eigenvalues(elements)[0])


def _direction(elements: Tensor, largest: Tensor) -> Tensor:
    xx, xy, xz, yy, yz, zz = elements
    rows = [[xx - largest, xy, xz], [xy, yy - largest, yz], [xz, yz, zz - largest]]
    # rows of D - λ1 span the plane across the eigenvector: take the longest of their cross products
    direction = _unit(*_longest([_cross(rows[i], rows[j]) for i, j in ((0, 1), (0, 2), (1, 2))]))
    # where two eigenvalues are equally large, rows are parallel and their product is nothing but rounding
    normal = _unit(*_longest(rows))
    along = _dot(normal, direction)
    direction = [d - n * along for d, n in zip(direction, normal, strict=True)]
    return torch.stack(_unit(direction, _dot(direction, direction)))


def _dot(a: list[Tensor], b: list[Tensor]) -> Tensor:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _cross(a: list[Tensor], b: list[Tensor]) -> list[Tensor]:
    return [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]


def _unit(vector: list[Tensor], squared: Tensor) -> list[Tensor]:
    inverse = torch.where(squared > 0, squared, torch.ones_like(squared)).rsqrt()
    return [component * inverse for component in vector]


def _longest(vectors: list[list[Tensor]]) -> tuple[list[Tensor], Tensor]:
    """The longest of some vectors, and its squared length."""
    best, squared = vectors[0], _dot(vectors[0], vectors[0])
    for other in vectors[1:]:
        length = _dot(other, other)
        longer = length > squared
        best = [torch.where(longer, o, b) for o, b in zip(other, best, strict=True)]
        squared = torch.where(longer, length, squared)
    return best, squared


@dataclass(frozen=True)
class _Shape:
    """What the measures of a tensor share.

    Attributes:
        values: (3, voxel) eigenvalues, descending, negative ones (unphysical) raised to zero.
        along: (7, voxel) ∂λ1/∂(S0, tensor) = v vᵀ, off-diagonals counted twice.
    """

    values: Tensor
    along: Tensor


def _shape(x: Tensor) -> _Shape:
    values = tensor_eigenvalues(x[1:])
    vx, vy, vz = _direction(x[1:], values[0])
    products = [vx * vx, 2 * vx * vy, 2 * vx * vz, vy * vy, 2 * vy * vz, vz * vz]
    return _Shape(values.clamp_min(0), torch.stack([torch.zeros_like(vx), *products]))


def _alone(
    measure: Callable[[Tensor, _Shape], tuple[Tensor, Tensor]],
) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    return lambda x: measure(x, _shape(x))


def _trace(x: Tensor) -> Tensor:
    """∂(trace)/∂(S0, tensor)."""
    ones = torch.tensor([0, 1, 0, 0, 1, 0, 1], dtype=x.dtype, device=x.device)
    return ones.view(-1, *(1,) * (x.ndim - 1)).expand_as(x)


def _mean_diffusivity(x: Tensor, shape: _Shape) -> tuple[Tensor, Tensor]:
    return shape.values.mean(0), _trace(x) / 3


def _fractional_anisotropy(x: Tensor, shape: _Shape) -> tuple[Tensor, Tensor]:
    first, second, third = shape.values
    mean = (first + second + third) / 3
    squares = first**2 + second**2 + third**2
    spread = (first - mean) ** 2 + (second - mean) ** 2 + (third - mean) ** 2
    fa = torch.sqrt(1.5 * spread / torch.where(squares > 0, squares, torch.ones_like(squares))).clamp(0, 1)
    # FA² = 1.5 (1 - tr²/(3 |D|²)), off-diagonals count twice in |D|²
    d = x[1:]
    norm = d[0] ** 2 + d[3] ** 2 + d[5] ** 2 + 2 * (d[1] ** 2 + d[2] ** 2 + d[4] ** 2)
    norm = torch.where(squares > 0, norm, 1.0)
    ratio = (d[0] + d[3] + d[5]) / norm
    scale = 0.5 / fa.clamp_min(1e-3)
    by_trace, by_norm = ratio * scale, ratio * ratio * scale
    rows = [by_norm * d[i] - by_trace if i in (0, 3, 5) else 2 * by_norm * d[i] for i in range(6)]
    return fa, torch.stack([torch.zeros_like(fa), *rows])


def _axial_diffusivity(x: Tensor, shape: _Shape) -> tuple[Tensor, Tensor]:
    return shape.values[0], shape.along


def _radial_diffusivity(x: Tensor, shape: _Shape) -> tuple[Tensor, Tensor]:
    return (shape.values[1] + shape.values[2]) / 2, (_trace(x) - shape.along) / 2


def _measure(name: str, unit: str, description: str) -> Parameter:
    return Parameter(
        name, unit, (0.0, 1.0 if unit == "1" else 0.02), (0.0, 1.0 if unit == "1" else 3e-3), description
    )


_TENSOR_MEASURES = (
    (_measure("FA", "1", "fractional anisotropy"), _fractional_anisotropy),
    (_measure("MD", "mm2/s", "mean diffusivity"), _mean_diffusivity),
    (_measure("AD", "mm2/s", "axial diffusivity"), _axial_diffusivity),
    (_measure("RD", "mm2/s", "radial diffusivity"), _radial_diffusivity),
)
