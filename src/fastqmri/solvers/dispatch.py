"""One door to the compiled kernels: who may use them, on which threads, and what the first use costs."""

from __future__ import annotations

import functools
import itertools
import logging
import math
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from fastqmri.solvers.solution import PackedSolution, Solution

if TYPE_CHECKING:
    from types import ModuleType

Item = TypeVar("Item")
Result = TypeVar("Result")
_LOG = logging.getLogger(__name__)
_STARTS_A_DECADE = 3.25
_BLOCK = 4096


@functools.cache
def kernels() -> ModuleType | None:
    """The compiled kernels, or None where numba is not installed or refuses to work."""
    try:
        from fastqmri.solvers import compiled
    except (ImportError, RuntimeError) as error:
        _LOG.warning("compiled kernels are unavailable (%s): using the slower general solver", error)
        return None
    return compiled


def usable(data: Tensor) -> bool:
    """Whether compiled kernels can fit this data: real, on the CPU, no gradient wanted."""
    return (
        data.device.type == "cpu"
        and not data.is_complex()
        and not data.requires_grad
        and kernels() is not None
    )


def fit_exponential(
    data: Tensor,
    weights: Tensor | None,
    times: Tensor,
    bounds: tuple[float, float],
    *,
    constant: bool,
    iterations: int = 60,
    tolerance: float = 1e-6,
) -> Solution:
    """Fit [c +] a exp(-θ t), compiled.

    Args:
        data: (contrast, voxel).
        weights: (contrast, voxel), or None.
        times: (contrast,).
        bounds: of θ.
        constant: fit c.
        iterations: evaluations at most.
        tolerance: relative change of θ that ends a fit.

    Returns:
        Solution in ([c,] a, θ).
    """
    compiled = kernels()
    assert compiled is not None
    order = times.argsort()
    sorted_times = times[order].double()
    in_order = bool((order == torch.arange(len(times))).all())
    low, high = bounds
    count = 2 + int(_STARTS_A_DECADE * math.log10(high / low))
    grid = torch.logspace(math.log10(low), math.log10(high), count, dtype=torch.float64).clamp(low, high)
    table = torch.exp(-grid[:, None] * sorted_times[None])
    rows = compiled.OUTPUT_ROWS[constant]
    return _run(
        compiled.exponential,
        data if in_order else data[order],
        weights if weights is None or in_order else weights[order],
        (sorted_times.numpy(), constant, low, high, grid.numpy(), table.numpy(), iterations, tolerance),
        unknowns=3 if constant else 2,
        rows=rows,
    )


def fit_rational(
    data: Tensor,
    weights: Tensor | None,
    sine: Tensor,
    cosine: Tensor,
    bounds: tuple[float, float],
    *,
    iterations: int = 60,
    tolerance: float = 1e-6,
) -> Solution:
    """Fit a s/(1 - θ c), compiled.

    Args:
        data: (contrast, voxel).
        weights: (contrast, voxel), or None.
        sine: s, (contrast, voxel), or (contrast, 1) where all voxels share it.
        cosine: c, like ``sine``.
        bounds: of θ.
        iterations: evaluations at most.
        tolerance: relative change of θ that ends a fit.

    Returns:
        Solution in (a, θ).
    """
    compiled = kernels()
    assert compiled is not None
    shared = sine.shape[1] == 1
    arrays = [
        (part.double().contiguous() if shared else _whole_blocks(part.double())).numpy()
        for part in (sine, cosine)
    ]
    return _run(
        compiled.rational,
        data,
        weights,
        (*arrays, *bounds, iterations, tolerance),
        unknowns=2,
        rows=compiled.OUTPUT_ROWS[False],
    )


def fit_log_linear(
    data: Tensor,
    weights: Tensor | None,
    design: Tensor,
    *,
    passes: int,
    iterations: int = 0,
    tolerance: float = 1e-6,
) -> Solution:
    """Fit exp(X β) by ordinary, then reweighted, then (``iterations`` > 0) non-linear least squares, compiled.

    Args:
        data: (contrast, voxel), positive wherever the weight is.
        weights: (contrast, voxel), or None.
        design: X, (contrast, unknown), its columns of similar size.
        passes: reweighted passes, at least one.
        iterations: evaluations of the non-linear fit at most.
        tolerance: change of β that ends a fit.

    Returns:
        Solution in β.
    """
    compiled = kernels()
    assert compiled is not None
    contrasts, p = design.shape
    padded = torch.zeros(-(-contrasts // 8) * 8, -(-p // 4) * 4, dtype=torch.float64)
    padded[:contrasts, :p] = design
    inverse = torch.zeros(len(padded), p, dtype=torch.float64)
    inverse[:contrasts] = torch.linalg.pinv(design.double()).T
    products = [padded[:, i] * padded[:, j] for i in range(p) for j in range(i + 1)]
    table = torch.cat([torch.stack(products, 1), padded[:, :p]], 1)
    return _run(
        compiled.log_linear,
        data,
        weights,
        (
            padded.numpy(),
            inverse.numpy(),
            table.contiguous().numpy(),
            passes,
            iterations,
            tolerance,
        ),
        unknowns=p,
        rows=p + p * (p + 1) // 2 + 3,
    )


def _run(
    kernel: Callable[..., None],
    data: Tensor,
    weights: Tensor | None,
    arguments: tuple[object, ...],
    *,
    unknowns: int,
    rows: int,
) -> Solution:
    announce(kernel)
    voxels = data.shape[1]
    y = _whole_blocks(data if data.dtype == torch.float32 else data.double())
    if y.stride(1) != 1:
        y = y.contiguous()
    stride = y.stride(0) if len(y) > 1 else y.shape[1]
    samples = y.as_strided((stride * (len(y) - 1) + y.shape[1],), (1,))
    w = None if weights is None else _whole_blocks(weights.double()).contiguous().numpy()
    out = torch.empty(rows, y.shape[1], dtype=torch.float64)
    head = (samples.numpy(), stride, w)
    result = out.numpy()
    spread(lambda *span: kernel(*head, *arguments, *span, result), y.shape[1], lanes=64, least=_BLOCK)
    out = out[:, :voxels].contiguous()
    packed = unknowns * (unknowns + 1) // 2
    return PackedSolution.of(
        x=out[:unknowns],
        packed=out[unknowns : unknowns + packed],
        residual=out[unknowns + packed],
        converged=out[unknowns + packed + 1] > 0.5,
    )


def spread(run: Callable[[int, int], object], count: int, *, lanes: int, least: int) -> None:
    """Run a compiled kernel on spans of ``count`` items, on as many threads as PyTorch may use.

    Args:
        run: called with (begin, end); calls on separate spans must be free to run at the same time.
        count: items in all.
        lanes: spans begin at multiples of this.
        least: items that are worth a thread of their own.
    """
    threads = max(1, min(_threads(), count // least))
    edges = [count * i // threads // lanes * lanes for i in range(threads)] + [count]
    spans = list(itertools.pairwise(edges))
    if threads == 1:
        run(*spans[0])
        return
    run(0, 0)  # compiles once, before the threads race to
    list(_pool(threads).map(lambda span: run(*span), spans))


def each(function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """Run a function on every item, on as many threads as PyTorch may use; results in order, as they come.

    Threads of our own over whole items beat PyTorch's over each operation: the items stay in each core's
    cache, and nobody waits between operations.
    """
    threads = min(_threads(), len(items))
    if threads < 2:
        yield from map(function, items)
        return
    grad = torch.is_grad_enabled()

    def work(item: Item) -> Result:
        with torch.set_grad_enabled(grad):
            return function(item)

    pool = _pool(threads)
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def fair_share(count: int, most: int) -> int:
    """Voxels to a chunk, at most ``most``, so that `each` gives all threads as much to do; whole blocks of lanes."""
    threads = _threads()
    rounds = max(1, -(-count // (most * threads)))
    return min(most, max(_BLOCK, 64 * -(-count // (64 * rounds * threads))))


_forward_mode = threading.RLock()


def jvp(function: Callable[[Tensor], Tensor], x: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    """Value of a function and its derivative along a direction, from any thread.

    PyTorch's forward mode has one counter of levels for the whole process, and threads that meet in it trip over
    each other: here they pass one by one.
    """
    with _forward_mode:
        result = torch.func.jvp(function, (x,), (direction,))
    return result[0], result[1]


_inside = threading.local()


def _threads() -> int:
    """Threads to share work among: in a thread of the pool just that one."""
    return getattr(_inside, "threads", None) or torch.get_num_threads()


@contextmanager
def own_threads() -> Iterator[None]:
    """Leave all sharing of work to `each`: PyTorch's operations of this thread run on this thread meanwhile.

    Its own threads wait for each other many times a chunk, and burn time whenever another process has a core.
    """
    before, threads = getattr(_inside, "threads", None), torch.get_num_threads()
    _inside.threads = before or threads
    torch.set_num_threads(1)
    try:
        yield
    finally:
        _inside.threads = before
        torch.set_num_threads(threads)


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """Threads in which PyTorch's own operations run on one thread."""
    ready = threading.Barrier(threads + 1)

    def start() -> None:
        _inside.threads = 1
        torch.set_num_threads(1)
        torch.get_num_threads()  # settles this thread's number: else it would take the later one
        ready.wait()

    pool = ThreadPoolExecutor(threads, thread_name_prefix="fastqmri", initializer=start)
    for _ in range(threads):
        pool.submit(int)
    ready.wait()
    torch.set_num_threads(torch.get_num_threads())  # what threads of others start with
    return pool


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # threads do not survive a fork


def _whole_blocks(rows: Tensor) -> Tensor:
    """(row, voxel) with the last voxel repeated to whole blocks of lanes: what is left of one rounds differently."""
    compiled = kernels()
    assert compiled is not None
    missing = -rows.shape[1] % compiled.LANES
    if not missing or not rows.shape[1]:
        return rows
    return torch.cat([rows, rows[:, -1:].expand(-1, missing)], 1)


_announced: set[str] = set()


def announce(kernel: Callable[..., None]) -> None:
    """Say once per process why the first use of a kernel on a machine takes seconds."""
    name = kernel.__name__
    cached = getattr(kernel, "stats", None)
    if name in _announced or getattr(kernel, "signatures", None):
        return
    _announced.add(name)
    if cached is not None and not _has_cache(kernel):
        _LOG.info("compiling the %s kernel for this processor (once; a few seconds)", name)


def _has_cache(kernel: Callable[..., None]) -> bool:
    from pathlib import Path

    path = Path(kernel.stats.cache_path or "")  # type: ignore[attr-defined]
    return any(path.glob(f"*.{kernel.__name__}-*.nbi"))
