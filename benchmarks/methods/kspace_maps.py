"""MANTIS and RELAX beside zero-filled + fit, LLR + fit and model-based reconstruction; bars, ablations, shifts.

    python benchmarks/methods/kspace_maps.py bars --network mantis-t2 relax-t2 relax-t1
    python benchmarks/methods/kspace_maps.py ablations --steps 150
    python benchmarks/methods/kspace_maps.py shifts

Objects of the report have seeds from 1000 on, or are slices of a subject that nothing was trained or tuned on.
`ablations` trains networks from the start, shorter than those that are shipped. Maps of real brains are in
`real_scans.py`. One thread.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from dataclasses import replace
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import torch

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


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=["bars", "ablations", "shifts"])
    parser.add_argument("--network", nargs="*", default=list(RECIPES), choices=list(RECIPES))
    parser.add_argument("--count", type=int, default=10, help="objects a case (10)")
    parser.add_argument("--steps", type=int, default=150, help="of trainings for ablations (150)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.part == "bars":
        bars(arguments.network, arguments.count)
    elif arguments.part == "ablations":
        ablations(arguments.steps, arguments.count)
    else:
        shifts(arguments.network, arguments.count)


if __name__ == "__main__":
    main()
