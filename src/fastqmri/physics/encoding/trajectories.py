"""Where samples lie in k-space, rad per voxel from -π to π, as `NonUniformFourier` takes them once flattened.

Axes follow the voxel axes of the images; partitions of a stack lie along the last of them.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fastqmri.core import PlausibilityError
from fastqmri.core.units import GYROMAGNETIC_RATIO

GOLDEN_RATIO = (1 + math.sqrt(5)) / 2
_STEPS = 16
"""Steps of the spiral's integration for each sample."""


def golden_radial(spokes: int, readout: int, *, tiny: int = 1, first: int = 0) -> Tensor:
    """Full spokes through the middle, each turned by the golden angle: (spoke, readout, 2).

    Source: Winkelmann 2007; tiny angles Wundrak 2016.

    Args:
        spokes: number.
        readout: samples of a spoke; sample ``readout // 2`` lies in the middle.
        tiny: N of the N-th golden angle π / (τ + N - 1); 1 is 111.25°, 7 is 23.6°.
        first: number of the first spoke in the endless series.
    """
    angle = (first + torch.arange(spokes, dtype=torch.float64)) * (math.pi / (GOLDEN_RATIO + tiny - 1))
    directions = torch.stack([angle.cos(), angle.sin()], -1)
    return _line(readout)[:, None] * directions[:, None]


def stack_of_stars(spokes: int, readout: int, partitions: int, *, tiny: int = 1, first: int = 0) -> Tensor:
    """Golden-angle spokes in every partition of a Cartesian stack: (partition, spoke, readout, 3).

    Source: Winkelmann 2007, in every partition alike.

    Args:
        spokes: of each partition.
        readout: samples of a spoke.
        partitions: number.
        tiny: see `golden_radial`.
        first: see `golden_radial`.
    """
    plane = golden_radial(spokes, readout, tiny=tiny, first=first).expand(partitions, -1, -1, -1)
    height = _line(partitions).view(-1, 1, 1, 1).expand(-1, spokes, readout, 1)
    return torch.cat([plane, height], -1)


def golden_radial_3d(spokes: int, readout: int, *, first: int = 0) -> Tensor:
    """Full spokes through the middle, spread over the sphere by the two golden means: (spoke, readout, 3).

    Source: Chan 2009.

    Args:
        spokes: number.
        readout: samples of a spoke; sample ``readout // 2`` lies in the middle.
        first: number of the first spoke in the endless series.
    """
    # the real root of x^3 + x = 1 and its square
    root = math.sqrt(31 / 108)
    second = (0.5 + root) ** (1 / 3) - (root - 0.5) ** (1 / 3)
    number = first + torch.arange(spokes, dtype=torch.float64)
    height = (number * second**2) % 1
    azimuth = 2 * math.pi * ((number * second) % 1)
    across = (1 - height**2).sqrt()
    directions = torch.stack([across * azimuth.cos(), across * azimuth.sin(), height], -1)
    return _line(readout)[:, None] * directions[:, None]


def spiral(
    interleaves: int,
    side: int,
    *,
    field_of_view: float,
    dwell: float,
    gradient: float,
    slew: float,
    edge_density: float = 1.0,
) -> Tensor:
    """Archimedean spirals from the middle outwards, as fast as the gradients allow: (interleaf, readout, 2).

    The turns of all interleaves together are 1 / field of view apart in the middle, and that divided by
    ``edge_density`` at the edge, linear in between. Each step takes the largest angular acceleration within the slew
    rate, up to the gradient amplitude.

    Args:
        interleaves: number of spirals, evenly turned.
        side: of the (square) matrix.
        field_of_view: m.
        dwell: s between samples.
        gradient: largest amplitude, T/m.
        slew: largest slew rate of the gradient's vector, T/m/s.
        edge_density: sampling density at the edge relative to the middle, above 0, at most 1.

    Raises:
        PlausibilityError: limits that are not positive, or too tight for the dwell time.
    """
    limits = {
        "interleaves": interleaves,
        "side": side,
        "field of view": field_of_view,
        "dwell time": dwell,
        "gradient": gradient,
        "slew rate": slew,
        "density at the edge": edge_density,
    }
    for name, value in limits.items():
        if not 0 < value < math.inf or (name == "density at the edge" and value > 1):
            raise PlausibilityError(
                f"a spiral's {name} of {value:g}",
                "it must be positive, and the density at the edge at most 1.",
                "Check it, and its unit (m, s, T/m, T/m/s).",
            )
    radians = 2 * math.pi * GYROMAGNETIC_RATIO * field_of_view / side  # rad per voxel, s and T/m
    fastest, hardest = gradient * radians, slew * radians
    pitch = interleaves / side  # rad per voxel of radius for one rad of angle, in the middle
    step = dwell / _STEPS
    radius, angle, speed = 0.0, 0.0, 0.0
    places = [0j]
    while radius < math.pi:
        for _ in range(_STEPS):
            slope = pitch / (1 - (1 - edge_density) * radius / math.pi)
            bend = slope**2 * (1 - edge_density) / math.pi * slope / pitch  # d slope / d angle
            tangent = complex(slope, radius)
            curve = complex(bend - radius, 2 * slope)
            # |curve speed² + tangent acceleration| = hardest, along the tangent
            size = abs(tangent)
            along = (tangent.conjugate() * curve).real / size * speed**2
            across = (tangent.conjugate() * curve).imag / size * speed**2
            room = math.sqrt(max(hardest**2 - across**2, 0.0))
            speed += step * (room - along) / size
            speed = max(min(speed, fastest / size), 0.0)
            angle += step * speed
            radius += step * speed * slope
        places.append(complex(radius * math.cos(angle), radius * math.sin(angle)))
        if len(places) > 10_000_000:
            raise PlausibilityError(
                f"a spiral of {len(places)} samples", "it does not end.", "Check the units of its limits."
            )
    if len(places) < 8:
        raise PlausibilityError(
            f"a spiral of {len(places)} samples for a matrix of {side}",
            "the dwell time is too long to sample it.",
            "Check the units (s, T/m, T/m/s), or take a shorter dwell time.",
        )
    single = torch.tensor(places[:-1], dtype=torch.complex128)
    turn = torch.arange(interleaves, dtype=torch.float64) * (2 * math.pi / interleaves)
    return torch.view_as_real(torch.polar(torch.ones_like(turn), turn)[:, None] * single)


def _line(samples: int) -> Tensor:
    """-π to π, with the middle sample at zero."""
    return (torch.arange(samples, dtype=torch.float64) - samples // 2) * (2 * math.pi / samples)
