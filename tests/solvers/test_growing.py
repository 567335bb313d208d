"""Region growing: the compiled form against the plain one, and both against what was wrapped."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from fastqmri.solvers import growing


def _problem(generator, shape=(9, 7, 5)):
    places = torch.meshgrid(*(torch.linspace(-1, 1, n, dtype=torch.float64) for n in shape), indexing="ij")
    truth = 5 * places[0] ** 2 - 4 * places[1] * places[2] + 5 * places[1]
    inside = torch.rand(shape, generator=generator) > 0.15
    quality = torch.randint(1, 256, (3, *shape), generator=generator, dtype=torch.uint8)
    for axis in range(3):
        size = shape[axis] - 1
        both = inside.narrow(axis, 0, size) & inside.narrow(axis, 1, size)
        quality[axis].narrow(axis, 0, size).mul_(both)
        quality[axis].narrow(axis, size, 1).zero_()
    return truth, inside, quality


def _regions(inside):
    """Connected regions by flooding from voxel to voxel."""
    labels = torch.zeros(inside.shape, dtype=torch.int32)
    count = 0
    for seed in inside.nonzero().tolist():
        if labels[tuple(seed)]:
            continue
        count += 1
        waiting = [tuple(seed)]
        while waiting:
            place = waiting.pop()
            if not inside[place] or labels[place]:
                continue
            labels[place] = count
            for axis in range(3):
                for step in (-1, 1):
                    other = (*place[:axis], place[axis] + step, *place[axis + 1 :])
                    if 0 <= other[axis] < inside.shape[axis]:
                        waiting.append(other)
    return labels


@pytest.mark.parametrize("plain", [False, True])
def test_a_smooth_quantity_comes_back_whatever_the_edges(generator, monkeypatch, plain):
    if plain:
        monkeypatch.setattr(growing, "kernels", lambda: None)
    truth, inside, quality = _problem(generator)
    wrapped = torch.remainder(truth + math.pi, 2 * math.pi) - math.pi
    turns, regions = growing.grow(wrapped, inside, quality)
    assert bool((turns != 0).any())
    assert torch.equal(regions, _regions(inside))
    for region in range(1, int(regions.max()) + 1):
        there = regions == region
        off = ((wrapped + 2 * math.pi * turns.double() - truth)[there]) / (2 * math.pi)
        assert torch.allclose(off, off[0].round().expand_as(off), atol=1e-9)


def test_compiled_and_plain_take_the_same_tree(generator):
    shape = (4, 4, 4)
    phase = 40 * torch.rand(shape, generator=generator, dtype=torch.float64)  # turns depend on the way taken
    inside = torch.ones(shape, dtype=torch.bool)
    order = torch.randperm(255, generator=generator).to(torch.uint8)
    quality = (order[: 3 * 64] + 1).reshape(3, *shape)  # no two edges alike: one best tree
    for axis in range(3):
        quality[axis].narrow(axis, 3, 1).zero_()
    compiled, _ = growing.grow(phase, inside, quality)
    turns, region = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    growing.grow_plainly(phase.numpy() / (2 * math.pi), inside.numpy(), quality.numpy(), turns, region)
    assert np.array_equal(compiled.numpy(), turns)


def test_a_bad_edge_is_gone_around():
    """Two rows: the step of more than half a turn between the ends of one is led around through the other."""
    truth = torch.tensor([[0.0, 4.0, 8.0], [0.0, 2.0, 5.0], [0.0, 2.5, 5.0]], dtype=torch.float64)[:, :, None]
    wrapped = torch.remainder(truth + math.pi, 2 * math.pi) - math.pi
    inside = torch.ones_like(truth, dtype=torch.bool)
    quality = torch.full((3, 3, 3, 1), 200, dtype=torch.uint8)
    quality[1, 0] = 1  # the first row, along which steps are too large
    quality[0, 2], quality[1, :, 2], quality[2] = 0, 0, 0
    turns, _ = growing.grow(wrapped, inside, quality)
    assert torch.allclose(wrapped + 2 * math.pi * turns.double(), truth)
    quality[1, 0, :2] = 255
    turns, _ = growing.grow(wrapped, inside, quality)
    assert not torch.allclose(wrapped + 2 * math.pi * turns.double(), truth)
