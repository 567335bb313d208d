"""Speed and accuracy of the voxel-wise fits, side by side with other programs, in one run.

    python benchmarks/run.py --jobs vfa,t2 --voxels 100000 --threads 1,2 --peer-python PYTHON

Contenders take turns (A, B, C, A, B, C, ...), so that other work on the machine falls on all of them alike.
Nothing is asserted: the tables say what was measured, whoever wins. PYTHON is an interpreter that has jax and
jaxopt; MRtrix3 and dipy take part where they are installed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
REPORT = Path(__file__).parents[1] / "docs" / "explanation" / "speed.md"
RESULTS = Path(__file__).parent / "results"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Voxel-wise fits against other programs.")
    parser.add_argument("--jobs", default="vfa,t2,t2star,ir,dti", help="comma-separated")
    parser.add_argument("--voxels", type=int, default=100_000)
    parser.add_argument("--threads", default="1", help="comma-separated")
    parser.add_argument("--rounds", type=int, default=5, help="timed runs of each contender")
    parser.add_argument("--peer-python", help="interpreter that has jax and jaxopt")
    parser.add_argument("--report", action="store_true", help="rewrite docs/explanation/speed.md")
    parser.add_argument("--name", default="voxelwise", help="of the JSON file in benchmarks/results")
    parser.add_argument("--alone", type=Path, help=argparse.SUPPRESS)  # one number of threads, into a file
    return parser.parse_args()


def main() -> None:
    options = arguments()
    names = options.jobs.split(",")
    if options.alone:
        options.alone.write_text(json.dumps(run_with(int(options.threads), names, options)))
        return
    from jobs import EVERY

    unknown = set(names) - set(EVERY)
    if unknown:
        sys.exit(f"no such job: {', '.join(sorted(unknown))}; there are {', '.join(EVERY)}")
    import tables
    from machine import description

    outcome = {"machine": description(), "voxels": options.voxels, "runs": [], "first_use": {}}
    for name in names:
        print(f"first use of {name}: compiling into an empty cache ...", flush=True)
        outcome["first_use"][name] = first_use(name)
    for threads in options.threads.split(","):
        outcome["runs"].append(run_apart(threads))
    print(tables.text(outcome))
    tables.save(outcome, RESULTS / f"{options.name}.json")
    if options.report:
        REPORT.parent.mkdir(parents=True, exist_ok=True)
        REPORT.write_text(tables.report(outcome))


def run_apart(threads: str) -> dict[str, object]:
    """All jobs with one number of threads, in a process whose libraries have never known another."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        command = [sys.executable, __file__, *sys.argv[1:], "--threads", threads, "--alone", str(result)]
        subprocess.run(command, env={**os.environ, **dict.fromkeys(THREAD_VARIABLES, threads)}, check=True)
        return json.loads(result.read_text())


def run_with(threads: int, names: list[str], options: argparse.Namespace) -> dict[str, object]:
    """All jobs with one number of threads."""
    import torch

    torch.set_num_threads(threads)
    from limits import measure

    limits = measure()
    jobs = {}
    for name in names:
        print(f"{name}, {threads} thread{'s' if threads > 1 else ''} ...", flush=True)
        jobs[name] = run_job(name, threads, options)
    return {"threads": threads, "limits": asdict(limits), "jobs": jobs}


def run_job(name: str, threads: int, options: argparse.Namespace) -> dict[str, object]:
    """One job: everybody once for the first call, then in turns."""
    from jobs import RELAXOMETRY, TENSORS, simulate, simulate_tensors

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if name == TENSORS:
            import tensors

            simulated = simulate_tensors(options.voxels)
            everybody = list(tensors.contenders(simulated, threads, folder))
            relative = {"FA": False, "MD": True}
        else:
            import outside
            import relaxometry

            job = RELAXOMETRY[name]
            simulated = simulate(job, options.voxels)
            everybody = list(relaxometry.contenders(job, simulated))
            for bits in (64, 32):
                peer = outside.jaxopt(options.peer_python, job, simulated, bits, threads, folder)
                everybody += stack.enter_context(peer)
            relative = {job.quantity: job.relative}
        return {"contenders": compete(everybody, simulated.truth, relative, options.rounds)}


def compete(everybody: list, truth: dict, relative: dict[str, bool], rounds: int) -> list[dict[str, object]]:
    """Let the contenders take turns; their times and errors."""
    from contenders import accuracy, difference
    from timing import summary

    first = [contender.measure().wall for contender in everybody]
    samples: list[list] = [[] for _ in everybody]
    for _ in range(rounds):
        for contender, own in zip(everybody, samples, strict=True):
            own.append(contender.measure())
    reference = everybody[0].estimates()
    rivals = {c.name: c.estimates() for c in everybody if c.name in {other.rival for other in everybody}}
    rows = []
    for contender, own, first_call in zip(everybody, samples, first, strict=True):
        found, n = contender.estimates(), contender.voxels
        ours = rivals.get(contender.rival, reference)
        errors = {
            quantity: {
                **accuracy(found[quantity], truth[quantity][:n], as_percent),
                "from_fastqmri": difference(
                    found[quantity], ours[quantity][:n], truth[quantity][:n], as_percent
                ),
            }
            for quantity, as_percent in relative.items()
        }
        rows.append(
            {
                "name": contender.name,
                "voxels": n,
                "rival": contender.rival,
                "work": None if contender.work is None else asdict(contender.work),
                "first_call": first_call,
                "time": asdict(summary(own)),
                "errors": errors,
            }
        )
    return rows


def first_use(job: str) -> dict[str, object]:
    """Seconds of the first fit with an empty cache, and what it says meanwhile."""
    with tempfile.TemporaryDirectory() as cache:
        done = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("first_use.py")), job],
            env={**os.environ, "NUMBA_CACHE_DIR": cache},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    return json.loads(done.stdout)


if __name__ == "__main__":
    main()
