"""Phantoms of known susceptibility and their echoes."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from fastqmri.phantoms import gradient_echoes, susceptibility_ellipsoids, susceptibility_head
from fastqmri.phantoms.susceptibility import HEAD_CHI, TENSOR_MAPS

SIDES = (24, 26, 22)


@pytest.mark.parametrize("draw", [susceptibility_ellipsoids, susceptibility_head])
def test_the_same_seed_draws_the_same(draw) -> None:  # type: ignore[no-untyped-def]
    first, again, other = (draw(SIDES, generator=torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(first.maps["chi"], again.maps["chi"])
    assert not torch.equal(first.maps["chi"], other.maps["chi"])
    assert first.drawn == again.drawn
    assert bool((first.labels[first.mask] > 0).all())
    assert bool((first.maps["T2star"][first.mask] > 0).all())
    assert bool((first.maps["M0"][~first.mask] == 0).all())


def test_head_has_its_tissues_and_a_background() -> None:
    generator = torch.Generator().manual_seed(1)
    head = susceptibility_head((64, 64, 64), generator=generator, texture=0.0)
    for name, chi in HEAD_CHI.items():
        where = head.labels == head.names.index(name)
        assert int(where.sum()) > 5, name
        assert torch.allclose(head.maps["chi"][where], torch.tensor(chi, dtype=torch.float64))
    assert set(head.maps["chi"][~head.mask].unique().tolist()) == {-2.0, 0.0, 9.4}
    without, with_background = (
        gradient_echoes(head, generator=generator, background=b).field[0][head.mask].std()
        for b in (False, True)
    )
    assert float(with_background) > 3 * float(without)


def test_signal_and_noise() -> None:
    generator = torch.Generator().manual_seed(3)
    phantom = susceptibility_ellipsoids(SIDES, generator=generator, calcification=True)
    times = (0.004, 0.012)
    clean, noisy = (
        gradient_echoes(
            phantom, generator=generator, echo_times=times, directions=((0, 0, 1), (0.3, 0, 1)), snr=snr
        )
        for snr in (float("inf"), 30.0)
    )
    assert clean.images.shape == (2, 2, *SIDES)
    inside = phantom.mask
    ratio = (clean.images[:, 1].abs() / clean.images[:, 0].abs())[:, inside]
    assert torch.allclose(
        ratio.double(), torch.exp(-0.008 / phantom.maps["T2star"][inside]).expand_as(ratio), rtol=1e-4
    )
    # 127.73 Hz for one ppm at 3 T
    turn = (clean.images[:, 1] * clean.images[:, 0].conj())[:, inside].angle()
    assert torch.allclose(turn, (2 * torch.pi * 127.7324 * 0.008 * clean.field)[:, inside], atol=1e-4)
    spread = (noisy.images - clean.images).real.std()
    assert float(spread) == pytest.approx(float(clean.images[0, 0].abs()[inside].mean()) / 30, rel=0.02)


def test_bundles_change_the_field_with_the_direction_only() -> None:
    generator = torch.Generator().manual_seed(4)
    phantom = susceptibility_ellipsoids(SIDES, generator=generator, bundles=3)
    trace = sum(phantom.maps[f"chi{i}{i}"] for i in (1, 2, 3))
    assert torch.allclose(trace, 3 * phantom.maps["chi"], atol=1e-12)
    isotropic = dataclasses.replace(
        phantom, maps={name: value for name, value in phantom.maps.items() if name not in TENSOR_MAPS}
    )
    fields = [gradient_echoes(one, generator=generator).field for one in (phantom, isotropic)]
    assert float((fields[0] - fields[1]).abs().max()) > 1e-3
