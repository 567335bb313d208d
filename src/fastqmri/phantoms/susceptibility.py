"""Objects of known susceptibility: random ellipsoids with veins, and their gradient echoes in any direction of B0."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fastqmri.core.units import GYROMAGNETIC_RATIO
from fastqmri.phantoms.anatomy import VESSELS, WHITE, Anatomy, grown
from fastqmri.phantoms.anisotropy import TENSOR_MAPS, ellipsoid, fibre_tensor, rotation
from fastqmri.phantoms.ellipses import centred_affine
from fastqmri.phantoms.fields import coordinates, smooth_texture
from fastqmri.phantoms.noise import add_noise
from fastqmri.phantoms.phantom import Phantom
from fastqmri.physics.encoding import Dipole, SusceptibilityTensor

HEAD_CHI: Mapping[str, float] = {
    "grey matter": 0.02,
    "white matter": -0.03,
    "cerebrospinal fluid": 0.019,
    "caudate": 0.044,
    "putamen": 0.038,
    "globus pallidus": 0.1305,
    "thalamus": 0.02,
    "red nucleus": 0.10,
    "substantia nigra": 0.111,
    "dentate": 0.152,
    "blood": 0.19,
    "calcification": -3.0,
}
"""ppm, as public simulators have them."""

_BRIGHT = ((0.7, 0.9), (0.8, 1.8), (0.025, 0.06))
_DARK = ((0.1, 0.3), (0.8, 1.0), (0.01, 0.02))
_NUCLEI = {
    "caudate": ((0.14, 0.22, 0.1), (0.05, 0.1, 0.1)),
    "putamen": ((0.27, 0.1, 0.0), (0.05, 0.14, 0.09)),
    "globus pallidus": ((0.19, 0.08, -0.02), (0.04, 0.08, 0.06)),
    "thalamus": ((0.1, -0.12, 0.02), (0.07, 0.1, 0.07)),
    "red nucleus": ((0.06, -0.06, -0.17), (0.035, 0.035, 0.04)),
    "substantia nigra": ((0.11, 0.0, -0.2), (0.045, 0.06, 0.03)),
    "dentate": ((0.16, -0.4, -0.34), (0.06, 0.06, 0.05)),
}


_SHELLS = (6.0, 10.0)
"""Outer faces of the bone and of all that is no air, mm from the brain."""
_SINUS = 12.0
"""Radius of a ball of air under the frontal brain, mm."""


@dataclass(frozen=True)
class GradientEchoScan:
    """Gradient echoes of a phantom and the fields behind them.

    Attributes:
        images: (orientation, echo, *voxels) complex64.
        field: (orientation, *voxels) float32, without noise, in ppm of B0; of what lies in the mask, and of what lies
            outside where that was asked for.
        directions: (orientation, 3) unit vectors of B0 along the voxel axes.
        echo_times: s.
        field_strength: T.
        noise: standard deviation of one channel of the images.
    """

    images: Tensor
    field: Tensor
    directions: Tensor
    echo_times: tuple[float, ...]
    field_strength: float
    noise: float

    def radians_per_ppm(self, echo: int = 0) -> float:
        """Phase of an echo for a field of one ppm."""
        return 2e-6 * math.pi * GYROMAGNETIC_RATIO * self.field_strength * self.echo_times[echo]


def susceptibility_ellipsoids(
    voxels: tuple[int, int, int] = (64, 64, 64),
    *,
    generator: torch.Generator,
    count: tuple[int, int] = (8, 16),
    veins: tuple[int, int] = (4, 8),
    texture: float = 0.01,
    calcification: bool = False,
    bundles: int = 0,
    folds: int = 0,
    voxel_size: float = 1.0,
) -> Phantom:
    """Draw a phantom: an ellipsoid with smaller ones inside, veins as tubes, and smooth texture.

    Its maps are ``chi`` [ppm], ``M0``, ``T1`` and ``T2star`` [s]; with bundles also the tensor (`TENSOR_MAPS`), whose
    trace is three times ``chi``. Drawn are numbers, places, sizes and directions of all shapes, their susceptibility
    (ellipsoids -0.1 to 0.2 ppm, veins 0.1 to 0.3, calcification -0.5 to -3), M0, T1 and T2star, and the texture.

    Args:
        voxels: matrix.
        generator: source of all randomness.
        count: least and most ellipsoids.
        veins: least and most tubes.
        texture: standard deviation in ppm.
        calcification: whether there is one.
        bundles: of fibres with anisotropic susceptibility, see `fibre_tensor`.
        folds: number of folded tissues (-0.08 to 0.08 ppm) that share the body, as grey and white matter do.
        voxel_size: mm.
    """

    def uniform(low: float, high: float, size: int = 1) -> Tensor:
        return low + (high - low) * torch.rand(size, dtype=torch.float64, generator=generator)

    def number(low: float, high: float) -> float:
        return float(uniform(low, high))

    def whole(bounds: tuple[int, int]) -> int:
        return int(torch.randint(bounds[0], bounds[1] + 1, (1,), generator=generator))

    position = coordinates(voxels)
    mask = ellipsoid(
        position, torch.zeros(3, dtype=torch.float64), uniform(0.7, 0.85, 3), torch.eye(3).double()
    )
    maps = {name: torch.zeros(voxels, dtype=torch.float64) for name in ("chi", "M0", "T1", "T2star")}
    labels = mask.to(torch.int16)
    names, drawn = ["outside", "body"], []

    def fill(
        where: Tensor, name: str, chi: float, t2star: tuple[float, float], m0: tuple[float, float]
    ) -> None:
        values = {"chi": chi, "M0": number(*m0), "T1": number(0.8, 1.8), "T2star": number(*t2star)}
        for key, value in values.items():
            maps[key][where] = value
        if name != "body":
            names.append(name)
            labels[where] = len(names) - 1
        drawn.append({"name": name, **values})

    fill(mask, "body", 0.0, (0.04, 0.06), (0.7, 0.9))
    if folds:
        level = smooth_texture(voxels, 1.0, number(1.5, 4.0), generator=generator)
        cuts = torch.quantile(level[mask], torch.linspace(0, 1, folds + 1, dtype=torch.float64))
        for i in range(folds):
            where = mask & (level >= cuts[i]) & (level <= cuts[i + 1])
            fill(where, f"fold-{i + 1}", number(-0.08, 0.08), (0.03, 0.08), (0.6, 1.0))
    for i in range(whole(count)):
        where = mask & ellipsoid(position, uniform(-0.5, 0.5, 3), uniform(0.08, 0.3, 3), rotation(generator))
        fill(where, f"ellipsoid-{i + 1}", number(-0.1, 0.2), (0.025, 0.06), (0.6, 1.0))
    maps["chi"] += (
        texture * mask * (smooth_texture(voxels, 1.0, max(min(voxels) / 24, 1.0), generator=generator) - 1)
    )
    for i in range(whole(veins)):
        radius = number(1.0, 1.8) * 2 / min(voxels)
        where = mask & _tube(position, uniform(-0.5, 0.5, 3), rotation(generator)[0], radius)
        fill(where, f"vein-{i + 1}", number(0.1, 0.3), (0.02, 0.03), (0.7, 0.9))
    if calcification:
        where = mask & ellipsoid(
            position, uniform(-0.4, 0.4, 3), uniform(0.06, 0.1, 3), torch.eye(3).double()
        )
        fill(where, "calcification", number(-3.0, -0.5), (0.01, 0.02), (0.1, 0.3))
    if bundles:
        maps |= fibre_tensor(maps["chi"], mask, position, bundles, generator)
    record: dict[str, Any] = {"tissues": drawn, "texture": texture, "bundles": bundles, "folds": folds}
    return Phantom(
        maps=maps,
        mask=mask,
        labels=labels,
        names=tuple(names),
        voxel_size=(voxel_size,) * 3,
        affine=centred_affine(voxels, (voxel_size,) * 3),
        drawn=record,
    )


def susceptibility_head(
    voxels: tuple[int, int, int] = (96, 96, 96),
    *,
    generator: torch.Generator,
    anatomy: Anatomy | None = None,
    nuclei: Mapping[str, Tensor] | None = None,
    texture: float = 0.005,
    calcification: bool = True,
    bundles: int = 0,
    voxel_size: float = 1.0,
) -> Phantom:
    """Draw a head: white matter, a grey rim, ventricles, deep nuclei, veins, and bone and air outside the mask.

    Its maps are those of `susceptibility_ellipsoids`; ``chi`` goes on outside the mask, where bone is at -2 ppm and air
    at 9.4 ppm, for fields with background. Drawn are the directions of the veins, the place of the calcification,
    M0, T1 and T2star of the tissues, and the texture.

    Args:
        voxels: matrix.
        generator: source of all randomness.
        anatomy: tissues in place of ellipsoids, the nuclei that it has among them, each voxel of one; its vessels
            count beside the drawn veins. Bone, a sinus and air are put round the brain.
        nuclei: name among `HEAD_CHI` -> (*voxels) bool, put into the anatomy; None takes pairs of ellipsoids, and
            with an anatomy none.
        texture: standard deviation in ppm.
        calcification: whether there is one.
        bundles: of fibres in the white matter, see `fibre_tensor`.
        voxel_size: mm.
    """
    position = coordinates(voxels)
    straight = torch.eye(3, dtype=torch.float64)

    def ball(centre: Sequence[float], axes: Sequence[float]) -> Tensor:
        return ellipsoid(
            position,
            torch.tensor(centre, dtype=torch.float64),
            torch.tensor(axes, dtype=torch.float64),
            straight,
        )

    if anatomy is not None:
        regions = _tissues_of(anatomy, voxels, voxel_size)
        mask = torch.stack([where for _, where in regions]).any(0)
        bone, tissue = (grown(mask, max(1, round(edge / voxel_size))) for edge in _SHELLS)
        sinus = _sinus(mask, voxel_size)
    else:
        mask = ball((0, 0, 0), (0.66, 0.78, 0.62))
        regions = [("grey matter", mask), ("white matter", ball((0, 0, 0), (0.58, 0.7, 0.54)))]
        for side in (-1, 1):
            regions.append(("cerebrospinal fluid", ball((0.1 * side, 0, 0.1), (0.05, 0.25, 0.1))))
        bone, tissue = ball((0, 0, 0), (0.74, 0.86, 0.7)), ball((0, 0, 0), (0.8, 0.92, 0.78))
        sinus = ball((0, 0.55, -0.72), (0.12, 0.12, 0.1))
    if nuclei is None and anatomy is None:
        for name, (centre, axes) in _NUCLEI.items():
            regions += [(name, ball((side * centre[0], *centre[1:]), axes)) for side in (-1, 1)]
    elif nuclei is not None:
        regions += list(nuclei.items())
    regions += [
        (
            "blood",
            _tube(
                position,
                torch.tensor(centre, dtype=torch.float64),
                rotation(generator)[0],
                2.6 / min(voxels),
            ),
        )
        for centre in ((0.3, 0.2, 0.2), (-0.3, 0.2, 0.2), (0.0, -0.4, 0.3), (0.2, 0.4, -0.2))
    ]
    if calcification:
        spot = 0.5 * torch.rand(3, generator=generator, dtype=torch.float64) - 0.25
        regions.append(("calcification", ball(spot.tolist(), (0.05, 0.05, 0.05))))
    maps = {name: torch.zeros(voxels, dtype=torch.float64) for name in ("chi", "M0", "T1", "T2star")}
    labels = torch.zeros(voxels, dtype=torch.int16)
    names = ["outside"]
    drawn: list[dict[str, Any]] = []
    for name, where in regions:
        if name not in names:
            names.append(name)
            m0, t1, t2star = (
                low + (high - low) * float(torch.rand(1, generator=generator))
                for low, high in (_DARK if name == "calcification" else _BRIGHT)
            )
            drawn.append({"name": name, "chi": HEAD_CHI[name], "M0": m0, "T1": t1, "T2star": t2star})
        known = drawn[names.index(name) - 1]
        for key in maps:
            maps[key][mask & where] = known[key]
        labels[mask & where] = names.index(name)
    maps["chi"] += (
        texture * mask * (smooth_texture(voxels, 1.0, max(min(voxels) / 24, 1.0), generator=generator) - 1)
    )
    maps["chi"][bone & ~mask] = -2.0
    maps["chi"][sinus & ~mask] = 9.4
    maps["chi"][~tissue] = 9.4
    if bundles:
        maps |= fibre_tensor(maps["chi"], labels == names.index(WHITE), position, bundles, generator)
    return Phantom(
        maps=maps,
        mask=mask,
        labels=labels,
        names=tuple(names),
        voxel_size=(voxel_size,) * 3,
        affine=centred_affine(voxels, (voxel_size,) * 3),
        drawn={"tissues": drawn, "texture": texture, "bundles": bundles},
    )


def gradient_echoes(
    phantom: Phantom,
    *,
    generator: torch.Generator,
    directions: Sequence[Sequence[float]] = ((0.0, 0.0, 1.0),),
    echo_times: Sequence[float] = (0.02,),
    field_strength: float = 3.0,
    repetition_time: float = 0.05,
    flip_angle: float = math.radians(15),
    snr: float = math.inf,
    background: bool = False,
    padding: float = 2.0,
) -> GradientEchoScan:
    """Spoiled gradient echoes of a phantom with a map ``chi`` or a tensor, the object at rest and B0 turned.

    Args:
        phantom: with ``chi`` or `TENSOR_MAPS` in ppm, ``M0``, ``T1`` and ``T2star``.
        generator: draws the noise.
        directions: of B0 along the voxel axes.
        echo_times: s.
        field_strength: T.
        repetition_time: s.
        flip_angle: rad.
        snr: mean magnitude of the first echo over the mask, divided by the noise of one channel.
        background: whether what lies outside the mask makes a field too.
        padding: see `Dipole`.
    """
    given = torch.tensor(directions, dtype=torch.float64)
    given = given / given.norm(dim=1, keepdim=True)
    settings: dict[str, Any] = {"padding": padding, "dtype": torch.float64}
    keep = torch.ones_like(phantom.mask) if background else phantom.mask
    if TENSOR_MAPS[0] in phantom.maps:
        tensor = torch.stack([phantom.maps[name] * keep for name in TENSOR_MAPS])
        field = SusceptibilityTensor(phantom.voxels, phantom.voxel_size, given, **settings)(tensor)
    else:
        field = Dipole(phantom.voxels, phantom.voxel_size, given, **settings)(phantom.maps["chi"] * keep)
    recovery = torch.exp(-repetition_time / phantom.maps["T1"].clamp_min(1e-6))
    steady = (
        phantom.maps["M0"] * math.sin(flip_angle) * (1 - recovery) / (1 - math.cos(flip_angle) * recovery)
    )
    turns = GYROMAGNETIC_RATIO * 1e-6 * field_strength
    images = torch.stack(
        [
            torch.polar(
                (steady * torch.exp(-time / phantom.maps["T2star"].clamp_min(1e-6)))
                .expand_as(field)
                .contiguous(),
                2 * math.pi * turns * time * field,
            )
            for time in echo_times
        ],
        dim=1,
    )
    noise = float(images[0, 0].abs()[phantom.mask].mean()) / snr
    images = add_noise(images, noise, False, generator)
    return GradientEchoScan(
        images.to(torch.complex64), field.float(), given, tuple(echo_times), field_strength, noise
    )


def _tissues_of(
    anatomy: Anatomy, voxels: tuple[int, int, int], voxel_size: float
) -> list[tuple[str, Tensor]]:
    """Names of `HEAD_CHI` and their voxels, the brain in the middle of the matrix."""
    inside = (anatomy.labels > 0).nonzero()
    middle = (inside.amin(0) + inside.amax(0)).double() / 2
    places, within = [], []
    for axis, side in enumerate(voxels):
        away = (torch.arange(side) - side // 2) * (voxel_size / anatomy.voxel_size[axis])
        place = (middle[axis] + away).round().long()
        within.append((place >= 0) & (place < anatomy.labels.shape[axis]))
        places.append(place.clamp(0, anatomy.labels.shape[axis] - 1))
    labels = anatomy.labels[places[0]][:, places[1]][:, :, places[2]].long()
    labels *= within[0][:, None, None] & within[1][:, None] & within[2]
    named = [("blood" if name == VESSELS else name, labels == i) for i, name in enumerate(anatomy.names)]
    return named[1:]


def _sinus(mask: Tensor, voxel_size: float) -> Tensor:
    """A ball of air that touches the frontal brain from below, in the middle between left and right."""
    x, y, z = mask.nonzero().T
    middle, front = int(x.median()), int(y.amin()) + round(0.85 * int(y.amax() - y.amin()))
    column = mask[middle - 2 : middle + 3, front].any(0).nonzero()
    lowest = int(column.amin()) if len(column) else int(z.amin())
    radius = _SINUS / voxel_size
    grid = torch.meshgrid(*(torch.arange(side) for side in mask.shape), indexing="ij")
    squares = (grid[0] - middle) ** 2 + (grid[1] - front) ** 2 + (grid[2] - lowest + radius) ** 2
    return squares < radius**2


def _tube(position: Tensor, centre: Tensor, along: Tensor, radius: float) -> Tensor:
    """A gently bent tube."""
    away = position - centre.view(3, 1, 1, 1)
    distance = torch.einsum("a,a...->...", along, away)
    side = torch.linalg.cross(along, torch.tensor([0.3, 0.5, 0.8], dtype=torch.float64))
    bend = 0.15 * torch.sin(2.5 * distance) * (side / side.norm()).view(3, 1, 1, 1)
    return (away - distance * along.view(3, 1, 1, 1) - bend).square().sum(0) < radius**2
