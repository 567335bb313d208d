"""Speed and agreement of the simulators, side by side with other programs, in one run.

    python benchmarks/simulators.py --jobs epg,epg-jacobian --threads 1 --peer-python PYTHON

Every module jobs_*.py in this folder has CONTESTS, a tuple of `contests.Contest`. Contenders take turns (A, B, C, A,
B, C, ...), so that other work on the machine falls on all of them alike. Nothing is asserted: the tables say what was
measured, whoever wins. PYTHON is an interpreter that has the other programs; those it lacks stay away.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from contests import Contest, Place, difference
from timing import summary

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
HERE = Path(__file__).parent
RESULTS = HERE / "results"
REPORT = HERE.parent / "docs" / "explanation" / "speed-of-simulators.md"
_INTRODUCTION = """# Speed of the simulators

Written by `python benchmarks/simulators.py --report`. Measure again on your own machine: only ratios of one run mean
anything. Contenders take turns; `/s` is by the median wall time, `per core-s` by the least CPU time of all threads,
`fastqmri is` how many times as fast the fastqmri row is per core-second, `differs by` the largest difference of the
results from the first row's. Kernels compile once a machine; that is in no time but the first call's.

Machine: """
_HEAD = ("contender", "{unit}", "{unit}/s", "per core-s", "fastqmri is", "differs by", "first call")


def contests() -> dict[str, Contest]:
    """All jobs of all families by name."""
    modules = [importlib.import_module(path.stem) for path in sorted(HERE.glob("jobs_*.py"))]
    return {contest.name: contest for module in modules for contest in module.CONTESTS}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Simulators against other programs.")
    parser.add_argument("--jobs", help="comma-separated; all by default")
    parser.add_argument("--amount", type=int, help="items (atoms, spectra, voxels) of the fast contenders")
    parser.add_argument("--threads", default="1", help="comma-separated")
    parser.add_argument("--rounds", type=int, default=5, help="timed runs of each contender")
    parser.add_argument("--peer-python", help="interpreter that has the other programs")
    parser.add_argument(
        "--name", default="simulators", help="of the JSON file and the table in benchmarks/results"
    )
    parser.add_argument(
        "--report", action="store_true", help="rewrite docs/explanation/speed-of-simulators.md"
    )
    parser.add_argument("--alone", type=Path, help=argparse.SUPPRESS)  # one number of threads, into a file
    return parser.parse_args()


def main() -> None:
    options = arguments()
    known = contests()
    names = list(known) if options.jobs is None else options.jobs.split(",")
    unknown = set(names) - set(known)
    if unknown:
        sys.exit(f"no such job: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    if options.alone:
        jobs = {name: hold(known[name], int(options.threads), options) for name in names}
        options.alone.write_text(json.dumps(jobs))
        return
    from machine import description

    outcome = {
        "machine": description(),
        "runs": [{"threads": int(n), "jobs": run_apart(n)} for n in options.threads.split(",")],
    }
    text = "\n".join(report(outcome, known)) + "\n"
    print(text)
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{options.name}.json").write_text(json.dumps(outcome, indent=1) + "\n")
    (RESULTS / f"{options.name}.md").write_text(text)
    if options.report:
        REPORT.write_text(_INTRODUCTION + text)


def run_apart(threads: str) -> dict[str, Any]:
    """All jobs with one number of threads, in a process whose libraries have never known another."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        command = [sys.executable, __file__, *sys.argv[1:], "--threads", threads, "--alone", str(result)]
        subprocess.run(command, env={**os.environ, **dict.fromkeys(THREAD_VARIABLES, threads)}, check=True)
        found: dict[str, Any] = json.loads(result.read_text())
        return found


def hold(contest: Contest, threads: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    """One contest: everybody once for the first call, then in turns."""
    import torch

    torch.set_num_threads(threads)
    print(f"{contest.name}, {threads} thread{'s' if threads > 1 else ''} ...", flush=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        everybody = list(contest.enter(Place(threads, options.amount, options.peer_python, folder, stack)))
        first = [runner.measure().wall for runner in everybody]
        samples: list[list[Any]] = [[] for _ in everybody]
        for _ in range(options.rounds):
            for runner, own in zip(everybody, samples, strict=True):
                own.append(runner.measure())
        reference = everybody[0].numbers()
        return [
            {
                "name": runner.name,
                "amount": runner.amount,
                "rival": runner.rival,
                "first_call": first_call,
                "differs": difference(runner.numbers(), reference),
                "time": asdict(summary(own)),
            }
            for runner, own, first_call in zip(everybody, samples, first, strict=True)
        ]


def report(outcome: dict[str, Any], known: dict[str, Contest]) -> list[str]:
    """The tables, as Markdown."""
    machine = outcome["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    lines = [f"{machine['processor']}, {machine['cores']} cores, Python {machine['python']}, {versions}"]
    for run in outcome["runs"]:
        lines += ["", f"## {run['threads']} thread{'s' if run['threads'] > 1 else ''}"]
        for name, rows in run["jobs"].items():
            contest = known[name]
            others = [r["time"]["others"] for r in rows if r["time"]["others"] is not None]
            busy = f"; other processes used {sum(others) / len(others):.2f} cores meanwhile" if others else ""
            lines += ["", f"### {contest.title}", "", *_table(contest, rows), ""]
            lines += [f"{contest.note} {rows[0]['time']['runs']} interleaved runs each{busy}.".strip()]
    return lines


def _table(contest: Contest, rows: list[dict[str, Any]]) -> list[str]:
    by_name = {row["name"]: row for row in rows}
    cells = [tuple(head.format(unit=contest.unit) for head in _HEAD)]
    for row in rows:
        time, ratio = row["time"], "–"
        if row["rival"] in by_name:
            ratio = f"{_per_core(by_name[row['rival']]) / _per_core(row):.1f}x"
        cells.append(
            (
                row["name"],
                f"{row['amount']:,}",
                _three(row["amount"] / time["wall_median"]),
                _three(_per_core(row)),
                ratio,
                f"{row['differs']:.1g}",
                f"{row['first_call']:.2f} s",
            )
        )
    widths = [max(len(row[i]) for row in cells) for i in range(len(_HEAD))]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in cells]
    return [lines[0], "| " + " | ".join("-" * w for w in widths) + " |", *lines[1:]]


def _per_core(row: dict[str, Any]) -> float:
    rate: float = row["amount"] / row["time"]["cpu_least"]
    return rate


def _three(value: float) -> str:
    """Three significant digits, with the thousands marked."""
    if value < 100:
        return f"{value:.3g}"
    digits = max(0, len(str(int(value))) - 3)
    return f"{round(value, -digits):,.0f}"


if __name__ == "__main__":
    main()
