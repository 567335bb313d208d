"""Model-based reconstruction beside BART and sigpy on the same k-space: error and CPU time, in one run.

    python benchmarks/model_based_peers.py --model t1 --peer-python PYTHON
    python benchmarks/model_based_peers.py --model t2 --peer-python PYTHON --side 96

T1 is a Look-Locker train, T2 a train of spin echoes, of textured ellipses; random lines, other ones for each contrast.
Everybody gets the true coil maps but `bart moba`, which estimates its own and can't be told any; beside it stands ours
with ESPIRiT's maps of the same lines. The penalties' weights (in steps of three, until the error rises) and the
iterations of BART and sigpy are tuned on other phantoms than reported; ours has its defaults.

Images of the two-step methods are complex. For T1 their fit is of signed images, without the phase of the last
contrast; for T2 of magnitudes, or BART's complex fit. The fit is ours, compiled, unless it says so. Values are held
within the bounds of our parameters for all. CPU seconds count child processes, BART's files too; one thread each; sigpy
without its imports, ours without compilation. PYTHON is an interpreter that has sigpy.
"""

from __future__ import annotations

import argparse
import functools
import math
import os
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from bart_tools import bart, installed, read_cfl, write_cfl
from contests import Place
from model_based import REPORTED, error, interval
from timing import cpu_seconds

from fastqmri.core import LookLocker, Measurement, MultiEchoSpinEcho
from fastqmri.estimators.least_squares import least_squares
from fastqmri.estimators.reconstruction import ModelBased
from fastqmri.estimators.reconstruction.coil_maps import estimate_sensitivities
from fastqmri.phantoms import Phantom, ellipses
from fastqmri.physics.encoding import CartesianEncoding, synthetic_sensitivities, variable_density_lines
from fastqmri.physics.signal import ExponentialDecay, LookLockerSignal, SignalModel

TUNING = 100
STEP, LONGEST_CLIMB = 3.0, 6
Found = tuple[torch.Tensor, float]
"""A map, and CPU seconds."""


@dataclass(frozen=True)
class Scan:
    """What everybody is given, and the truth."""

    model: SignalModel
    name: str
    phantom: Phantom
    measurement: Measurement
    encoding: CartesianEncoding
    times: torch.Tensor

    def fit(self, images: torch.Tensor) -> torch.Tensor:
        """The compiled voxel-wise fit of complex images."""
        model = self.model
        if isinstance(model, LookLockerSignal):
            model = LookLockerSignal(model.acquisition, "real")
            images = (images * torch.exp(-1j * images[-1].angle())).real
        else:
            images = images.abs()
        given = Measurement(images.float(), model.acquisition, mask=self.phantom.mask, saturation=math.inf)
        return least_squares(model).estimate(given)[self.name].value

    def error(self, value: torch.Tensor) -> float:
        """nRMSE in the mask, %."""
        return error(self._bounded(value), self.phantom, self.name)

    def median(self, value: torch.Tensor) -> float:
        """Median of the relative errors' sizes in the mask, %, which a few wild voxels don't move."""
        inside, truth = self.phantom.mask, self.phantom.maps[self.name]
        return 100 * float((self._bounded(value).nan_to_num() / truth - 1)[inside].abs().median())

    def _bounded(self, value: torch.Tensor) -> torch.Tensor:
        (low, high) = next(p.bounds for p in self.model.parameters if p.name == self.name)
        return value.double().clamp(low, high)


def simulated(arguments: argparse.Namespace, seed: int) -> Scan:
    """A Look-Locker or spin-echo scan, its largest signal 200 times the noise of a sample."""
    g = torch.Generator().manual_seed(seed)
    voxels, contrasts = (arguments.side,) * 2, arguments.contrasts
    phantom = ellipses(voxels, generator=g)
    if arguments.model == "t1":
        times = torch.linspace(0.02, 4.0, contrasts, dtype=torch.float64)
        model: SignalModel = LookLockerSignal(LookLocker(inversion_time=tuple(times.tolist())))
        t1 = torch.where(phantom.mask, phantom.maps["T1"], 1.0)
        driven = 1 / (1 / t1 - math.log(math.cos(math.radians(6))) / 0.0041)
        signed = model.signed()
        assert signed is not None
        images = signed(torch.stack([phantom.maps["M0"], t1, driven]))
    else:
        times = 0.01 * torch.arange(1, contrasts + 1, dtype=torch.float64)
        model = ExponentialDecay(MultiEchoSpinEcho(echo_time=tuple(times.tolist())))
        images = phantom.signal(model)
    maps = synthetic_sensitivities(voxels, arguments.coils, generator=g)
    lines = variable_density_lines(
        voxels[0], contrasts, arguments.acceleration, generator=g, centre=8, decay=0
    )
    encoding = CartesianEncoding(maps, lines[:, None, :])
    clean = encoding(images.to(torch.complex64))
    noise = float(images[:, phantom.mask].abs().max()) / 200
    white = torch.randn(clean.shape, dtype=clean.dtype, generator=g) * 2**0.5 * noise
    data = clean + encoding.sampling(white)
    measurement = Measurement(data, model.acquisition, mask=phantom.mask, noise=noise, encoding=encoding)
    return Scan(model, arguments.model.upper(), phantom, measurement, encoding, times)


class Bart:
    """A scan in BART's layout, (x, y, 1, coil, 1, contrast), in a folder of its own."""

    def __init__(self, scan: Scan, folder: str) -> None:
        self.folder, self.scan, self.voxels = Path(folder), scan, scan.phantom.mask.shape
        samples = scan.measurement.data.numpy().transpose(2, 3, 1, 0)[:, :, None, :, None, :]
        pattern = scan.encoding.mask.numpy().transpose(1, 2, 0)[:, :, None, None, None, :]
        write_cfl(
            self.folder / "ksp", samples * math.sqrt(math.prod(self.voxels))
        )  # its transform isn't unitary
        write_cfl(self.folder / "psf", np.broadcast_to(pattern, (*self.voxels, 1, 1, 1, pattern.shape[-1])))
        write_cfl(self.folder / "times", scan.times.numpy().reshape(1, 1, 1, 1, 1, -1))
        write_cfl(self.folder / "sens", scan.encoding.sensitivities.numpy().transpose(1, 2, 0)[:, :, None])

    def moba(self, weight: float, effort: tuple[int, int]) -> torch.Tensor:
        newton, inner = effort
        kind = ("-L", "-B", 0.3) if self.scan.name == "T1" else ("-F",)
        control = ("-l1", "-j", weight, "-i", newton, "-C", inner, "-f", 1)
        bart(self.folder, "moba", *kind, *control, "-p", "psf", "ksp", "times", "out")
        if self.scan.name == "T1":
            bart(self.folder, "looklocker", "-t0.", "-D0.", "out", "map")
            return torch.from_numpy(np.abs(read_cfl(self.folder / "map")))
        rate = np.abs(read_cfl(self.folder / "out")[..., 1])  # in units of 10 / s
        return torch.from_numpy(0.1 / np.maximum(rate, 1e-6))

    def pics(self, penalty: str, weight: float, effort: int) -> torch.Tensor:
        bart(self.folder, "pics", "-S", f"-R{penalty}:{weight:g}", "-i", effort, "ksp", "sens", "rec")
        images = read_cfl(self.folder / "rec").reshape(*self.voxels, -1)
        return torch.from_numpy(images.transpose(2, 0, 1).copy())

    def mobafit(self, images: torch.Tensor) -> torch.Tensor:
        inside = self.scan.phantom.mask
        voxels = images[:, inside].numpy().T
        write_cfl(self.folder / "voxels", voxels[:, None, None, None, None, :])
        bart(self.folder, "mobafit", "-T", "-i", 20, "times", "voxels", "fit")
        rate = np.abs(read_cfl(self.folder / "fit")[..., 1])
        value = torch.zeros(inside.shape)
        value[inside] = torch.from_numpy(1 / np.maximum(rate, 1e-6))
        return value


@dataclass
class Tool:
    """A way to the map, the settings it is tuned over, and what it scored.

    Attributes:
        run: (scan, **settings) -> map, CPU seconds.
        settings: the first guess; what was chosen, later.
        efforts: values of the setting ``effort`` to choose from: iterations, of `moba` Newton's and inner ones.
        like: a tool whose settings it takes instead.
    """

    run: Callable[..., Found]
    settings: dict[str, Any] = field(default_factory=dict)
    efforts: tuple[Any, ...] = ()
    like: Tool | None = None
    errors: list[float] = field(default_factory=list)
    medians: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def tune(self, scans: list[Scan], name: str) -> None:
        """Climb over the weights, try each effort, and climb again where another one is better."""
        if self.like is not None:
            self.settings = self.like.settings
        if self.like is not None or not self.settings:
            return

        @functools.cache
        def score(weight: float, effort: Any) -> float:
            runs = [(scan, *self.run(scan, weight=weight, effort=effort)) for scan in scans]
            mean = float(np.mean([scan.error(value) for scan, value, _ in runs]))
            cost = sum(seconds for _, _, seconds in runs)
            print(f"  {name}: weight {weight:g}, effort {effort}: {mean:.2f} %, {cost:.1f} CPU s", flush=True)
            return mean

        first = self.settings["effort"]
        weight = lowest(lambda w: score(w, first), self.settings["weight"])
        effort = min(self.efforts, key=lambda e: score(weight, e))
        if effort != first:
            weight = lowest(lambda w: score(w, effort), weight)
        self.settings = {"weight": weight, "effort": effort}


def lowest(value: Callable[[float], float], start: float) -> float:
    """The first minimum on a geometric grid, from a start in its direction of descent."""
    best = start
    for step in (STEP, 1 / STEP):
        for _ in range(LONGEST_CLIMB):
            following = float(f"{best * step:.3g}")
            if value(following) >= value(best):
                break
            best = following
        if best != start:
            break
    return best


def ours(own_maps: bool = False, **settings: Any) -> Callable[..., Found]:
    def run(scan: Scan) -> Found:
        begin, given = cpu_seconds(), scan.measurement
        if own_maps:
            maps = estimate_sensitivities(given.data, scan.encoding.mask.expand(-1, *given.voxels))
            encoding = CartesianEncoding(maps, scan.encoding.mask)
            given = Measurement(
                given.data, given.acquisition, mask=given.mask, noise=given.noise, encoding=encoding
            )
        value = ModelBased(scan.model, **settings).estimate(given)[scan.name].value
        return value, cpu_seconds() - begin

    return run


def with_bart(work: Callable[..., torch.Tensor]) -> Callable[..., Found]:
    def run(scan: Scan, **settings: Any) -> Found:
        with tempfile.TemporaryDirectory() as folder:
            begin = cpu_seconds()
            value = work(Bart(scan, folder), **settings)
            return value, cpu_seconds() - begin

    return run


def sigpy(place: Place) -> Callable[..., Found] | None:
    """One process for all of its runs."""
    entered = place.peer("sigpy", "peer_sense.py", 1, "", needs="sigpy")
    if not entered:
        return None
    (runner,) = entered

    def run(scan: Scan, penalty: str, weight: float, effort: int) -> Found:
        task = {"threads": 1, "penalty": penalty, "iterations": effort}
        np.savez(
            place.folder / "sigpy" / "task.npz",
            kspace=scan.measurement.data.numpy(),
            maps=scan.encoding.sensitivities.numpy(),
            weight=weight * scan.measurement.noise,
            **task,
        )
        seconds = runner.measure().cpu
        begin = cpu_seconds()
        value = scan.fit(torch.from_numpy(runner.numbers()))
        return value, seconds + cpu_seconds() - begin

    return run


def contenders(arguments: argparse.Namespace, place: Place) -> dict[str, Tool]:
    """Ours first."""
    tools = {
        "model-based": Tool(ours()),
        "model-based, no draws": Tool(ours(draws=0)),
        "model-based, ESPIRiT's maps": Tool(ours(own_maps=True)),
    }
    if installed():
        for label, penalty, weight in (("wavelet", "W:3:32", 0.003), ("low-rank", "L:3:3", 0.001)):
            name = f"bart pics, {label} + fit"
            images = with_bart(lambda b, p=penalty, **s: b.scan.fit(b.pics(p, **s)))
            tools[name] = Tool(images, {"weight": weight, "effort": 60}, (60, 150))
        if arguments.model == "t2":
            fitted = with_bart(lambda b, **s: b.mobafit(b.pics("W:3:32", **s)))
            tools["bart pics, wavelet + mobafit"] = Tool(fitted, like=tools["bart pics, wavelet + fit"])
        if not arguments.without_moba:
            tools["bart moba (its own maps)"] = Tool(
                with_bart(Bart.moba), {"weight": 0.03, "effort": (8, 30)}, ((8, 30), (8, 100))
            )
    sense = sigpy(place)
    if sense is not None:
        for penalty in ("wavelet", "tv"):
            images = functools.partial(sense, penalty=penalty)
            tools[f"sigpy {penalty} + fit"] = Tool(images, {"weight": 1.0, "effort": 100}, (30, 100))
    return tools


def table(arguments: argparse.Namespace, tools: dict[str, Tool], phantoms: int) -> None:
    name = arguments.model.upper()
    print(
        f"\n{name}, {arguments.side}^2, {arguments.coils} coils, {arguments.contrasts} contrasts, acceleration "
        f"{arguments.acceleration:g}, {phantoms} phantoms: mean ± 1.96 standard errors;\n"
        "x: the first row's error and time as parts of this row's (below 1: it is better)"
    )
    print(f"{'':30s} {'nRMSE %':>14s} {'x':>5s} {'median %':>9s}   {'CPU s':>14s} {'x':>6s}   settings")
    first = next(iter(tools.values()))
    for label, tool in tools.items():
        by_error, by_time = (
            np.mean(a) / np.mean(b) for a, b in zip(scores(first), scores(tool), strict=True)
        )
        print(
            f"{label:30s} {interval(tool.errors):>14s} {by_error:5.2f} {np.mean(tool.medians):9.2f}   "
            f"{interval(tool.seconds):>14s} {by_time:6.3f}"
            f"   {', '.join(f'{key} {value}' for key, value in tool.settings.items())}"
        )
    for program in ("bart", "sigpy"):
        rivals = [label for label in tools if label.startswith(program)]
        if not rivals:
            continue
        best = min(rivals, key=lambda label: float(np.mean(tools[label].errors)))
        quickest = min(rivals, key=lambda label: float(np.mean(tools[label].seconds)))
        print(f"{program}: least error {best}; least time {quickest}")


def scores(tool: Tool) -> tuple[list[float], list[float]]:
    return tool.errors, tool.seconds


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", choices=["t1", "t2"], default="t1")
    parser.add_argument("--side", type=int, default=64, help="of the square matrix (64)")
    parser.add_argument("--coils", type=int, default=8, help="(8)")
    parser.add_argument("--contrasts", type=int, default=16, help="(16)")
    parser.add_argument("--acceleration", type=float, default=4.0, help="lines in all by lines measured (4)")
    parser.add_argument("--phantoms", type=int, default=2, help=f"reported, seeds from {REPORTED} on (2)")
    parser.add_argument("--tuning", type=int, default=1, help=f"to tune on, seeds from {TUNING} on (1)")
    parser.add_argument("--peer-python", help="interpreter that has sigpy; without it sigpy stays away")
    parser.add_argument("--without-moba", action="store_true", help="it takes nearly all of the time")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    tuning = [simulated(arguments, TUNING + number) for number in range(arguments.tuning)]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        tools = contenders(arguments, Place(1, None, arguments.peer_python, Path(folder), stack))
        for own in tools.values():
            if not own.settings and own.like is None:
                own.run(tuning[0])  # compiles
        for label, tool in tools.items():
            tool.tune(tuning, label)
        for number in range(arguments.phantoms):
            scan = simulated(arguments, REPORTED + number)
            for label, tool in tools.items():
                value, seconds = tool.run(scan, **tool.settings)
                tool.errors.append(scan.error(value))
                tool.medians.append(scan.median(value))
                tool.seconds.append(seconds)
                print(
                    f"  phantom {number}, {label}: {tool.errors[-1]:.2f} %, {seconds:.1f} CPU s", flush=True
                )
            table(arguments, tools, number + 1)


if __name__ == "__main__":
    main()
