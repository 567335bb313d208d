"""MANTIS and RELAX beside zero-filled + fit, LLR + fit and model-based reconstruction; bars, ablations, shifts.

    python benchmarks/methods/kspace_maps.py bars --network mantis-t2 relax-t2 relax-t1
    python benchmarks/methods/kspace_maps.py ablations --steps 150
    python benchmarks/methods/kspace_maps.py shifts
    python benchmarks/methods/kspace_maps.py real --figures FOLDER

Objects of the report have seeds from 1000 on, or are slices of a subject that nothing was trained or tuned on.
`ablations` trains networks from the start, shorter than those that are shipped. `real` takes maps that were fitted to
scans of a brain, puts them on the trained matrix, and simulates the trained protocol with synthetic coils: the scans'
own echo times and angles are others, and are refused. One thread.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from dataclasses import replace
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import torch
from torch import Tensor

import fastqmri.methods
from fastqmri.core import Estimator, Measurement
from fastqmri.learning.evaluation import Result, as_text
from fastqmri.learning.kspace_evaluation import classical, compared, judged_object, kspace_results, measured
from fastqmri.learning.kspace_recipe import KSpaceRecipe
from fastqmri.learning.training import train
from fastqmri.learning.weights import read_card, read_weights
from fastqmri.methods.mantis import MantisT2
from fastqmri.methods.relax import Relax, RelaxT1, RelaxT2
from fastqmri.phantoms import Phantom

RECIPES: dict[str, type[KSpaceRecipe]] = {r.name: r for r in (MantisT2, RelaxT2, RelaxT1)}
WEIGHTS = Path(fastqmri.methods.__file__).parent / "weights"
BARS = {
    name: tuple(
        (name + ending, baseline, factor)
        for ending in endings
        for baseline, factor in (("zero-filled + fit", share), ("llr + fit", 1.0))
    )
    for name, share, endings in (
        ("mantis-t2", 0.6, ("", ", finished")),
        ("relax-t2", 0.9, ("", ", refined", ", finished")),
        ("relax-t1", 0.6, ("", ", refined", ", finished")),
    )
}


def methods_of(recipe: KSpaceRecipe) -> dict[str, Estimator]:
    """The shipped network, finished by the physics, and refined on each scan."""
    card = read_card(WEIGHTS, recipe.name)
    network = read_weights(WEIGHTS, recipe.network(), card)
    methods = recipe.methods(network, card)
    if isinstance(recipe, Relax):
        methods[f"{recipe.name}, refined"] = recipe.build(network, card, steps=20, finish=0)
    return methods


def bars(names: list[str], count: int) -> None:
    for name in names:
        recipe = RECIPES[name]()
        rows = kspace_results(recipe.study.model, methods_of(recipe), seeds=1, phantoms=count, shifts=False)
        print(as_text(rows), flush=True)
        errors = {case: _errors([r for r in rows if r.case == case]) for case in {r.case for r in rows}}
        for case in sorted(errors):
            for method, baseline, factor in BARS[name]:
                ratio = errors[case][method] / errors[case][baseline]
                verdict = "met" if ratio <= factor else "MISSED"
                print(f"  {case}: {method} / {baseline}: {ratio:.2f}, bar {factor:g}: {verdict}", flush=True)
        for kind in ("ellipses", "brain"):
            low, high = (errors[f"{kind}, R {r:g}"][name] for r in recipe.study.judged)
            print(f"  {kind} harder at the higher R: {'yes' if high > low else 'NO'}", flush=True)


def _errors(rows: list[Result]) -> dict[str, float]:
    return {r.method: r.value for r in rows if r.metric == "nRMSE"}


def ablations(steps: int, count: int) -> None:
    """MANTIS without k-space in the loss, with other weights of it, with one mask for all; on the tuning part."""
    cases = {
        "λ 0.1": MantisT2(),
        "λ 0": MantisT2(data_weight=0.0),
        "λ 1": MantisT2(data_weight=1.0),
        "one fixed mask": MantisT2(fixed_mask=True),
    }
    for label, recipe in cases.items():
        settings = recipe.settings.model_copy(update={"steps": steps, "validate_every": steps})
        with tempfile.TemporaryDirectory() as folder:
            trained = train(recipe, Path(folder), settings)
        card = read_card(WEIGHTS, recipe.name)
        method: dict[str, Estimator] = {label: recipe.build(trained.network, card, steps=0, finish=0)}
        objects = [judged_object(k, i, split="tuning") for k in ("ellipses", "brain") for i in range(count)]
        for rate in recipe.study.judged:
            rows = compared(
                f"{steps} steps, R {rate:g}", recipe.study.model, method, scanned(recipe, objects, rate)
            )
            print(as_text(rows), flush=True)


def scanned(
    recipe: KSpaceRecipe, objects: list[Phantom], rate: float, snr: float = 60.0
) -> list[tuple[Phantom, Measurement]]:
    """Objects and their scans."""
    return [(p, measured(p, recipe.study.model, rate, 100 + i, snr=snr)) for i, p in enumerate(objects)]


def shifts(names: list[str], count: int) -> None:
    """SNR 20, longer relaxation times, and both modes of RELAX on them."""
    for name in names:
        recipe = RECIPES[name]()
        model, rate = recipe.study.model, recipe.study.judged[0]
        methods = methods_of(recipe) | classical(model)
        objects = [judged_object("ellipses", i) for i in range(count)]
        rows = compared(f"{name}: SNR 20, R {rate:g}", model, methods, scanned(recipe, objects, rate, 20.0))
        print(as_text(rows), flush=True)
        second = model.parameters[1].name
        for factor in (2.0, 0.6):
            longer = [replace(p, maps={**p.maps, second: factor * p.maps[second]}) for p in objects]
            case = f"{name}: {second} x {factor:g}, R {rate:g}"
            print(as_text(compared(case, model, methods, scanned(recipe, longer, rate))), flush=True)


def real(folder: Path, data: Path) -> None:
    """Maps of real brains as the object."""
    for name in ("mantis-t2", "relax-t2", "relax-t1"):
        recipe = RECIPES[name]()
        model, rate = recipe.study.model, recipe.study.judged[0]
        scans = scanned(recipe, [real_maps(recipe, data)], rate)
        methods = methods_of(recipe) | classical(model)
        rows = compared(f"{name}: maps of a real brain, R {rate:g}", model, methods, scans)
        print(as_text(rows), flush=True)
        picture(folder / f"{name}.png", recipe, *scans[0], methods)


def real_maps(recipe: KSpaceRecipe, data: Path) -> Phantom:
    """M0 and T2 or T1 fitted to a scan, every n-th voxel of it, on the trained matrix."""
    import json

    import nibabel

    from fastqmri.core import Measurement as Images
    from fastqmri.core import MultiEchoSpinEcho, VariableFlipAngle
    from fastqmri.estimators.least_squares import least_squares
    from fastqmri.physics.signal import ExponentialDecay, SignalModel, SpoiledGradientEcho

    t2 = recipe.study.model.parameters[1].name == "T2"
    place = data / ("brain_mse_t2_qmrlab" if t2 else "brain_vfa_b1_qmrlab")
    told = json.loads((place / "dataset.json").read_text())["parameters"]

    def read(name: str) -> Tensor:
        return torch.from_numpy(nibabel.load(place / name).get_fdata()).float().squeeze()  # type: ignore[attr-defined]

    images = read("mono_t2.nii.gz" if t2 else "vfa_t1.nii.gz").movedim(-1, 0)
    mask = read("mono_t2_mask.nii.gz" if t2 else "vfa_t1_mask.nii.gz") > 0
    known: dict[str, Tensor] = {}
    if t2:
        model: SignalModel = ExponentialDecay(
            MultiEchoSpinEcho(echo_time=tuple(round(t * 1e-3, 6) for t in told["TE_ms"]))
        )
    else:
        angles, repetition = _vfa(told)
        model = SpoiledGradientEcho(VariableFlipAngle(flip_angle=angles, repetition_time=repetition))
        known = {"B1": read("vfa_t1_B1map.nii.gz")}
    maps = least_squares(model).estimate(Images(images, model.acquisition, mask=mask, known=known))
    layers = {n: maps[n].value for n in recipe.quantities} | known
    if images.ndim == 4:
        middle = images.shape[-1] // 2
        layers, mask = {n: v[..., middle] for n, v in layers.items()}, mask[..., middle]
    low, high = recipe.study.limits
    good = mask & torch.isfinite(layers[recipe.quantities[1]])
    layers[recipe.quantities[1]] = layers[recipe.quantities[1]].clamp(1.1 * low, 0.9 * high)
    out = {n: _on_matrix(torch.where(good, v, 1.0 if n == "B1" else 0.0)) for n, v in layers.items()}
    inside = _on_matrix(good.float()) > 0.5
    out["M0"] = (out["M0"] / out["M0"][inside].quantile(0.95)).clamp(0, 1.5)
    return Phantom(
        {n: v.double() for n, v in out.items()},
        inside,
        inside.short(),
        ("outside", "inside"),
        (1.0, 1.0),
        torch.eye(4, dtype=torch.float64),
    )


def _vfa(told: dict[str, object]) -> tuple[tuple[float, ...], float]:
    import math

    angles = next(v for k, v in told.items() if "FA" in k.upper() or "FLIP" in k.upper())
    repetition = next(v for k, v in told.items() if k.upper().startswith("TR"))
    rows = repetition if isinstance(repetition, list) else [repetition]
    scale = 1e-3 if float(rows[0]) > 0.2 else 1.0
    return tuple(math.radians(float(a)) for a in angles), float(rows[0]) * scale  # type: ignore[attr-defined]


def _on_matrix(x: Tensor, side: int = 64) -> Tensor:
    """The nearest voxels, the longer side filling the matrix."""
    longest = max(x.shape)
    padded = torch.zeros(longest, longest)
    top, left = ((longest - n) // 2 for n in x.shape)
    padded[top : top + x.shape[0], left : left + x.shape[1]] = x
    index = ((torch.arange(side) + 0.5) * longest / side).long()
    return padded[index][:, index]


def picture(
    path: Path,
    recipe: KSpaceRecipe,
    phantom: Phantom,
    measurement: Measurement,
    methods: dict[str, Estimator],
) -> None:
    """Truth, maps and errors of a scan."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    name = recipe.quantities[1]
    truth, inside = phantom.maps[name], phantom.mask
    top = float(truth[inside].quantile(0.9)) * 1.3
    figure, axes = plt.subplots(2, len(methods) + 1, figsize=(3 * len(methods) + 3, 6))
    columns = {"truth": truth} | {m: e.estimate(measurement)[name].value for m, e in methods.items()}
    for axis, (label, value) in zip(axes.T, columns.items(), strict=True):
        shown = torch.where(inside, value.nan_to_num(), 0.0)
        axis[0].imshow(shown, vmin=0, vmax=top, cmap="viridis")
        axis[0].set_title(label, fontsize=8)
        axis[1].imshow(torch.where(inside, shown - truth, 0.0), vmin=-0.3 * top, vmax=0.3 * top, cmap="RdBu")
        for a in axis:
            a.axis("off")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=70)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=["bars", "ablations", "shifts", "real"])
    parser.add_argument("--network", nargs="*", default=list(RECIPES), choices=list(RECIPES))
    parser.add_argument("--count", type=int, default=10, help="objects a case (10)")
    parser.add_argument("--steps", type=int, default=150, help="of trainings for ablations (150)")
    parser.add_argument("--figures", type=Path, default=Path("figures"))
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("FASTQMRI_TEST_DATA", "../shared/data"))
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.part == "bars":
        bars(arguments.network, arguments.count)
    elif arguments.part == "ablations":
        ablations(arguments.steps, arguments.count)
    elif arguments.part == "shifts":
        shifts(arguments.network, arguments.count)
    else:
        real(arguments.figures, arguments.data)


if __name__ == "__main__":
    main()
