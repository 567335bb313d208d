"""Tables of what was measured, for the terminal, as JSON and as a page of the documentation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jobs import RELAXOMETRY, SNR, TENSORS

_HEAD = (
    "contender",
    "voxels",
    "voxels/s",
    "per core-s",
    "fastqmri is",
    "bias",
    "RMSE",
    "from fastqmri",
    "first call",
)


def text(outcome: dict[str, Any]) -> str:
    """For the terminal."""
    return "\n".join(_blocks(outcome))


def save(outcome: dict[str, Any], path: Path) -> None:
    """As JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(_rounded(outcome), indent=1) + "\n")


def report(outcome: dict[str, Any]) -> str:
    """The page of the documentation."""
    return _PREFACE.format(machine=_machine(outcome), snr=SNR) + "\n".join(_blocks(outcome)) + "\n"


def _blocks(outcome: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    for run in outcome["runs"]:
        plural = "s" if run["threads"] > 1 else ""
        lines += ["", f"## {run['threads']} thread{plural}", "", _limits(run)]
        for name, job in run["jobs"].items():
            title = "Diffusion tensor, 6 + 64 volumes" if name == TENSORS else RELAXOMETRY[name].title
            lines += ["", f"### {title}", "", *_table(job), "", *_bounds(job, run), "", _quiet(job)]
    if outcome["first_use"]:
        lines += ["", "## First use ever, with nothing compiled yet", "", *_first_use(outcome["first_use"])]
    return lines


def _table(job: dict[str, Any]) -> list[str]:
    contenders = {c["name"]: c for c in job["contenders"]}
    rows = [_HEAD]
    for c in contenders.values():
        time, (quantity, error) = c["time"], next(iter(c["errors"].items()))
        unit = "" if quantity == "FA" else " %"
        walls = (_three(c["voxels"] / time[key]) for key in ("wall_median", "wall_least"))
        ratio = "–"
        if c["rival"] in contenders:
            ratio = f"{_per_core(contenders[c['rival']]) / _per_core(c):.1f}x"
        rows.append(
            (
                c["name"],
                f"{c['voxels']:,}",
                "{} ({})".format(*walls),
                _three(_per_core(c)),
                ratio,
                f"{error['bias']:.4f}{unit}",
                f"{error['rmse']:.4f}{unit}",
                f"{error['from_fastqmri']:.1g}{unit}",
                f"{c['first_call']:.2f} s",
            )
        )
    return _aligned(rows)


def _per_core(contender: dict[str, Any]) -> float:
    return contender["voxels"] / contender["time"]["cpu_least"]


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in rows]
    return [lines[0], "| " + " | ".join("-" * w for w in widths) + " |", *lines[1:]]


def _limits(run: dict[str, Any]) -> str:
    limits = run["limits"]
    return (
        f"Limits of one core in this run: copying {limits['copy'] / 1e9:.1f} GB/s (read and written), "
        f"{limits['exponentials'] / 1e9:.2f} G exponentials/s, "
        f"matrix product {limits['flops'] / 1e9:.0f} GFLOP/s, all in float64."
    )


def _bounds(job: dict[str, Any], run: dict[str, Any]) -> list[str]:
    """How near our own come to the limits of a core."""
    limits, lines = run["limits"], []
    for c in job["contenders"]:
        work = c["work"]
        if work is None:
            continue
        rate = _per_core(c)
        by_bytes, by_flops = rate * work["bytes"] / limits["copy"], rate * work["flops"] / limits["flops"]
        nearer = "arithmetic" if by_flops > by_bytes else "memory"
        lines.append(
            f"- {c['name']}: {work['bytes']:.0f} bytes and about {work['flops']:.0f} operations a voxel "
            f"({work['evaluations']:.1f} evaluations): {by_bytes:.1%} of the copying limit, {by_flops:.1%} "
            f"of the arithmetic limit; {nearer} is nearer."
        )
    return lines


def _quiet(job: dict[str, Any]) -> str:
    others = [c["time"]["others"] for c in job["contenders"] if c["time"]["others"] is not None]
    runs = job["contenders"][0]["time"]["runs"]
    busy = f"; other processes used {sum(others) / len(others):.2f} cores meanwhile" if others else ""
    return f"{runs} interleaved runs each{busy}."


def _first_use(first: dict[str, Any]) -> list[str]:
    rows = [("job", "first call", "second call", "it says")]
    for name, found in first.items():
        says = "; ".join(found["messages"]) or "nothing"
        rows.append((name, f"{found['first']:.1f} s", f"{1e3 * found['second']:.1f} ms", says))
    return _aligned(rows)


def _machine(outcome: dict[str, Any]) -> str:
    machine = outcome["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    return f"{machine['processor']}, {machine['cores']} cores, Python {machine['python']}, {versions}"


def _three(value: float) -> str:
    """Three significant digits, with the thousands marked."""
    digits = max(0, len(str(int(value))) - 3)
    return f"{round(value, -digits):,.0f}"


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


_PREFACE = """# Speed

Written by `python benchmarks/run.py --report`. Measure again on your own machine: only ratios of one run mean
anything.

Machine: {machine}.

- Simulated voxels of known truth, float32 samples, signal-to-noise ratio {snr:g} of the largest sample.
  Magnitudes carry Rician noise, inversion recovery is signed with Gaussian noise. Everybody fits the same
  samples: curves by the sum of squares, tensors by the method that the name says.
- fastqmri's `estimate()` screens the samples, finds its own starting points and the noise, and returns
  values, standard deviations, misfit and flags; tensors also FA, MD, AD and RD with theirs. "Solver alone"
  leaves out the screening, the noise and the flags. The others return bare values, get closed-form starting
  points for nothing, and slow ones get fewer voxels.
- MRtrix3 reads an image file and writes one, both hot in the system's cache. By default it solves three
  times, the first time with weights by the measured signal; our three-fold variant solves once more (without
  weights, to start). dipy's WLS reweights once. Each is compared with our variant of its kind.
- Contenders take turns. `voxels/s` is by the median (least) wall time, `per core-s` by the least CPU time of
  all threads, and `fastqmri is` how many times as fast `estimate()` is per core-second.
- Bias and RMSE are against the truth. `from fastqmri` is the median absolute difference from `estimate()`:
  those who reach the same optimum show nearly zero there.
"""
