"""Dictionaries: the signals of any model on a grid of tissue parameters, built in pieces and kept on the disk."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from fastqmri.core import DataError, OutputError, Progress
from fastqmri.estimators import dictionary_cache
from fastqmri.estimators.dictionary_cache import Piece, Span
from fastqmri.estimators.grid import Grid
from fastqmri.physics.signal import SignalModel
from fastqmri.solvers import dispatch

_LOG = logging.getLogger(__name__)
KEEP_AFTER = 2.0
_PIECE = 1 << 21
_PROBES = 9
_DIGITS = 8
_DESCRIBED = 2000  # characters of the schedule that the file beside a dictionary repeats


@dataclass(frozen=True)
class Dictionary:
    """Signals of unit norm on a grid.

    Attributes:
        grid: where the atoms are.
        atoms: (atom, contrast), every atom's samples side by side; of unit norm, or zero where a signal vanishes.
        norms: (atom) norms that the signals of unit amplitude had.
        key: identifies physics, schedule and grid.
        origin: ``built``, or the file it was read from.
    """

    grid: Grid
    atoms: Tensor
    norms: Tensor
    key: str
    origin: str


def build(
    model: SignalModel,
    grid: Grid,
    key: str | None = None,
    dtype: torch.dtype = torch.float64,
    cache: Path | None = None,
    *,
    keep_after: float = KEEP_AFTER,
    progress: Progress | None = None,
) -> Dictionary:
    """Simulate all atoms, or read them where this very dictionary was built before.

    Pieces bound the memory that the simulation takes; those of a build that was interrupted serve the next one.

    Args:
        model: the physics and its schedule.
        grid: of its parameters.
        key: the `identity` of these, if it is known already.
        dtype: of the atoms' real and imaginary parts.
        cache: folder for dictionaries; None takes the user's (see `dictionary_cache.folder`).
        keep_after: seconds of simulation that are worth a file.
        progress: called with (atoms done, atoms in all).

    Raises:
        DataError: atoms that are not finite.
    """
    key = key or identity(model, grid, dtype)
    store = dictionary_cache.Store(cache or dictionary_cache.folder(), key)
    held = store.load(grid.count, model.acquisition.contrasts)
    if held is not None:
        return Dictionary(grid, torch.from_numpy(held[0]), torch.from_numpy(held[1]), key, str(store.atoms))
    pieces = _Pieces(model, grid, dtype)
    spans = pieces.spans()
    begun = time.perf_counter()
    resumed = store.pieces()

    def make(span: Span) -> tuple[Span, Piece, bool]:
        old = store.read_piece(resumed[span]) if span in resumed else None
        return (span, old, True) if old is not None else (span, pieces.simulate(span), False)

    atoms = torch.empty(grid.count, model.acquisition.contrasts, dtype=pieces.kind)
    norms = torch.empty(grid.count, dtype=torch.float64)
    waiting: list[Span] = []
    keeping = True
    for span, piece, was_kept in dispatch.each(make, spans):
        atoms[slice(*span)], norms[slice(*span)] = torch.from_numpy(piece[0]), torch.from_numpy(piece[1])
        if not was_kept:
            waiting.append(span)
        if keeping and (resumed or time.perf_counter() - begun > keep_after):
            keeping = _kept(lambda: _write_pieces(store, waiting, atoms, norms))
            waiting.clear()
        if progress:
            progress(span[1], grid.count)
    if keeping and time.perf_counter() - begun > keep_after:
        described = {
            "model": type(model).__name__,
            "grid": grid.describe(),
            "schedule": schedule(model)[:_DESCRIBED],
        }
        _kept(lambda: store.write(*_rows((0, grid.count), atoms, norms), described))
    return Dictionary(grid, atoms, norms, key, "built")


class _Pieces:
    """Simulates spans of atoms."""

    def __init__(self, model: SignalModel, grid: Grid, dtype: torch.dtype) -> None:
        self.model, self.grid = model, grid
        self.kind = dtype.to_complex() if model.complex_valued else dtype

    def spans(self) -> list[Span]:
        size = max(64, _PIECE // self.model.acquisition.contrasts)
        return [(begin, min(begin + size, self.grid.count)) for begin in range(0, self.grid.count, size)]

    def simulate(self, span: Span) -> Piece:
        with torch.no_grad():
            signal = self.model(self.grid.points[:, slice(*span)]).T
        norms = signal.abs().square().sum(1).sqrt()
        if not bool(torch.isfinite(norms).all()):
            worst = int((~torch.isfinite(norms)).nonzero()[0, 0]) + span[0]
            values = {n: float(v) for n, v in zip(self.grid.names, self.grid.points[:, worst], strict=True)}
            raise DataError(
                f"the signal of {type(self.model).__name__} at {values}",
                "it is not finite.",
                "Leave such values out of the grid.",
            )
        unit = signal / torch.where(norms > 0, norms, 1.0)[:, None]
        return unit.to(self.kind).contiguous().numpy(), norms.double().numpy()


def _rows(span: Span, atoms: Tensor, norms: Tensor) -> Piece:
    return atoms[slice(*span)].numpy(), norms[slice(*span)].numpy()


def _write_pieces(store: dictionary_cache.Store, spans: Sequence[Span], atoms: Tensor, norms: Tensor) -> None:
    for span in spans:
        store.write_piece(span, *_rows(span, atoms, norms))


def _kept(write: Callable[[], None]) -> bool:
    """Whether writing succeeded: a dictionary that can't be kept is used all the same."""
    try:
        write()
    except OutputError as error:
        _LOG.warning("the dictionary is not kept: %s", error)
        return False
    return True


def schedule(model: SignalModel) -> str:
    """The acquisition in words a machine can compare."""
    return json.dumps(model.acquisition.model_dump(), sort_keys=True, default=str)


def identity(model: SignalModel, grid: Grid, dtype: torch.dtype) -> str:
    """Hash of all that a dictionary depends on.

    Physics enters by what it does: signals at a few points spread over the grid, to eight digits. A changed
    simulator, or an option of the model, changes the key though no name or version number did.
    """
    from fastqmri import __version__

    digest = hashlib.sha256()
    kind = type(model)
    for text in (__version__, kind.__module__, kind.__qualname__, schedule(model), str(dtype)):
        digest.update(text.encode() + b"\0")
    digest.update(grid.points.contiguous().numpy().tobytes())
    probes = torch.linspace(0, grid.count - 1, _PROBES).round().long().unique()
    with torch.no_grad():
        signal = model(grid.points[:, probes])
    scale = float(signal.abs().max()) or 1.0
    parts = torch.view_as_real(signal) if signal.is_complex() else signal
    digest.update((parts.double() / scale * 10**_DIGITS).round().to(torch.int64).numpy().tobytes())
    return digest.hexdigest()[:32]
