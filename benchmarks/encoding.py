"""Speed of the encoding, side by side with other programs, in one run.

    OMP_NUM_THREADS=1 python benchmarks/encoding.py --threads 1 --peer-python PYTHON

The transform to samples off the grid against bare finufft plans, mrpro, sigpy and BART; its Gram operator against
forward and adjoint; CG-SENSE against mrpro, sigpy and BART. Contenders take turns; nothing is asserted. PYTHON is an
interpreter that has mrpro and sigpy; BART is the program ``bart`` where it is installed, and its figures hold the start
of a process and the reading and writing of files, which is how it is used.
"""

from __future__ import annotations

import argparse
import functools
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from bart_tools import bart, installed, read_cfl, write_cfl
from contests import Contest, Place, Runner
from numpy.typing import NDArray
from simulators import RESULTS, hold, report

from fastqmri.physics.encoding import CartesianEncoding, NonUniformFourier, synthetic_sensitivities
from fastqmri.solvers.conjugate_gradient import conjugate_gradient

SIDE, COILS, SPOKES, READOUT = 256, 8, 402, 512
ACCURACY = 1e-5
ITERATIONS, REGULARISATION = 20, 1e-3
OURS = "fastqmri"


@functools.cache
def _scan() -> tuple[NDArray[Any], NDArray[Any]]:
    """Random coil images, and a radial trajectory in rad per voxel."""
    drawn = np.random.default_rng(0)
    images = drawn.standard_normal((COILS, SIDE, SIDE, 2)).astype(np.float32).view(np.complex64)[..., 0]
    angle = np.arange(SPOKES) * np.pi / SPOKES
    radius = (np.arange(READOUT) / READOUT - 0.5) * 2 * np.pi
    places = np.stack([np.outer(np.cos(angle), radius).ravel(), np.outer(np.sin(angle), radius).ravel()], -1)
    return images, places.astype(np.float32)


def _coils_last(found: Any) -> NDArray[Any]:
    return np.moveaxis(np.asarray(found).reshape(COILS, SIDE, SIDE), 0, -1)


def _transform(place: Place) -> Sequence[Runner]:
    import finufft

    images, places = _scan()
    tensor = torch.tensor(images)
    operator = NonUniformFourier(torch.tensor(places), (SIDE, SIDE), accuracy=ACCURACY)
    columns = [np.ascontiguousarray(column) for column in places.T]
    plans = []
    for kind, sign in ((2, -1), (1, 1)):
        plan = finufft.Plan(
            kind, (SIDE, SIDE), COILS, ACCURACY, sign, dtype="complex64", nthreads=place.threads
        )
        plan.setpts(*columns)
        plans.append(plan)
    samples = SPOKES * READOUT
    out, back = np.empty((COILS, samples), np.complex64), np.empty((COILS, SIDE, SIDE), np.complex64)

    def bare() -> NDArray[Any]:
        plans[0].execute(images, out=out)
        plans[1].execute(out, out=back)
        return back

    return [
        Runner(OURS, COILS, lambda: operator.adjoint(operator(tensor)), _coils_last),
        Runner("bare finufft plans", COILS, bare, lambda a: _coils_last(a) / SIDE**2, OURS),
        *_peers(place, "transform", ("mrpro", "sigpy"), COILS, _coils_last, images=images, trajectory=places),
        *_bart_transform(place, images, places),
    ]


def _bart_transform(place: Place, images: NDArray[Any], places: NDArray[Any]) -> list[Runner]:
    if not installed():
        return []
    folder = place.folder
    cycles = np.concatenate([places[:, ::-1] * SIDE / (2 * np.pi), np.zeros((len(places), 1))], 1)
    write_cfl(folder / "t", cycles.T[:, :, None])
    write_cfl(folder / "x", images.transpose(2, 1, 0)[:, :, None])

    def run() -> NDArray[Any]:
        bart(folder, "nufft", "t", "x", "y", threads=place.threads)
        bart(folder, "nufft", "-a", "-d", f"{SIDE}:{SIDE}:1", "t", "y", "z", threads=place.threads)
        return read_cfl(folder / "z")

    return [Runner("BART", COILS, run, lambda a: a.reshape(SIDE, SIDE, COILS).transpose(1, 0, 2), OURS)]


def _gram(place: Place) -> Sequence[Runner]:
    images, places = _scan()
    tensor = torch.tensor(images)
    operator = NonUniformFourier(torch.tensor(places), (SIDE, SIDE), accuracy=ACCURACY)
    gram = operator.gram
    return [
        Runner(OURS, COILS, lambda: gram(tensor), _coils_last),
        Runner(
            "fastqmri, forward and adjoint",
            COILS,
            lambda: operator.adjoint(operator(tensor)),
            _coils_last,
            OURS,
        ),
        *_peers(place, "gram", ("mrpro",), COILS, _coils_last, images=images, trajectory=places),
    ]


def _sense(place: Place) -> Sequence[Runner]:
    maps = synthetic_sensitivities((SIDE, SIDE), COILS, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(1, SIDE, 1, dtype=torch.bool)
    mask[:, ::4] = True
    mask[:, SIDE // 2 - 12 : SIDE // 2 + 12] = True
    encoding = CartesianEncoding(maps, mask)
    line = torch.linspace(-1, 1, SIDE)
    x, y = torch.meshgrid(line, line, indexing="ij")
    radius = (x**2 + (y / 0.8) ** 2).sqrt()
    image = torch.polar((radius < 0.85).float() - 0.3 * (radius < 0.5) + 0.4 * (radius < 0.2), x + 0.5 * y)
    kspace = encoding(image[None])[0]
    noise = torch.randn(kspace.shape, dtype=kspace.dtype, generator=torch.Generator().manual_seed(1))
    kspace = (kspace + noise * 0.005) * mask

    def ours() -> torch.Tensor:
        return conjugate_gradient(
            encoding.gram + REGULARISATION,
            encoding.adjoint(kspace[None]),
            iterations=ITERATIONS,
            dimensions=2,
        )

    def read(found: Any) -> NDArray[Any]:
        return np.asarray(found).reshape(SIDE, SIDE, 1)

    return [
        Runner(OURS, 1, ours, read),
        *_peers(
            place,
            "cg-sense",
            ("mrpro", "sigpy"),
            1,
            read,
            kspace=kspace.numpy(),
            maps=maps.numpy(),
            lines=np.flatnonzero(mask[0, :, 0].numpy()),
            regularisation=REGULARISATION,
            iterations=ITERATIONS,
        ),
        *_bart_sense(place, kspace.numpy(), maps.numpy(), read),
    ]


def _bart_sense(
    place: Place, kspace: NDArray[Any], maps: NDArray[Any], read: Callable[[Any], NDArray[Any]]
) -> list[Runner]:
    if not installed():
        return []
    folder = place.folder
    write_cfl(folder / "k", kspace.transpose(1, 2, 0)[:, :, None])
    write_cfl(folder / "s", maps.transpose(1, 2, 0)[:, :, None])

    def run() -> NDArray[Any]:
        command = f"pics -S -l2 -r {REGULARISATION} -i {ITERATIONS} k s o".split()
        bart(folder, *command, threads=place.threads)
        return read_cfl(folder / "o")

    return [Runner("BART", 1, run, read, OURS)]


def _peers(
    place: Place,
    job: str,
    programs: Sequence[str],
    amount: int,
    read: Callable[[Any], NDArray[Any]],
    **given: Any,
) -> list[Runner]:
    found: list[Runner] = []
    for program in programs:
        needs = "sigpy" if program == "sigpy" else "einops"  # mrpro itself needs help to be imported
        found += place.peer(
            program, "peer_encoding.py", amount, OURS, read, needs, job=job, program=program, **given
        )
    return found


CONTESTS = (
    Contest(
        "transform",
        f"Samples off the grid and back: {SIDE}², {COILS} coils, {SPOKES} x {READOUT} radial, single precision",
        "coils",
        _transform,
        f"fastqmri and finufft to {ACCURACY:g}, the others to what they are set to.",
    ),
    Contest("gram", "F^H F of the same", "coils", _gram, "Without the time to set it up."),
    Contest(
        "cg-sense",
        f"CG-SENSE: {SIDE}², {COILS} coils, every fourth line and 24 in the middle, {ITERATIONS} iterations",
        "images",
        _sense,
        "BART scales its data, so that its regularisation differs a little.",
    ),
)


def main() -> None:
    parser = argparse.ArgumentParser(description="The encoding against other programs.")
    known = {contest.name: contest for contest in CONTESTS}
    parser.add_argument("--jobs", default=",".join(known))
    parser.add_argument("--threads", type=int, default=1, help="start with OMP_NUM_THREADS as many")
    parser.add_argument("--rounds", type=int, default=5, help="timed runs of each contender")
    parser.add_argument("--peer-python", help="interpreter that has the other programs")
    options = parser.parse_args()
    options.amount = None
    jobs = {name: hold(known[name], options.threads, options) for name in options.jobs.split(",")}
    from machine import description

    outcome = {"machine": description(), "runs": [{"threads": options.threads, "jobs": jobs}]}
    text = "\n".join(report(outcome, known)) + "\n"
    print(text)
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "encoding.json").write_text(json.dumps(outcome, indent=1) + "\n")
    (RESULTS / "encoding.md").write_text(text)


if __name__ == "__main__":
    main()
