"""Masks and coils: numbers of samples, densities, banks."""

from __future__ import annotations

import pytest
import torch

from fastqmri.core import PlausibilityError, ShapeError
from fastqmri.learning.sampling import CoilBank, FixedMasks, MaskBank, VariableDensityLines
from fastqmri.physics.encoding import line_density, variable_density_lines


def test_lines_are_as_many_as_asked_and_as_dense_as_drawn_one_by_one(generator):
    mask, acceleration = VariableDensityLines((4.0, 8.0)).draw(500, 4, (48, 40), generator)
    assert mask.shape == (500, 4, 48, 1)
    assert set(acceleration.tolist()) == {4.0, 8.0}
    assert torch.equal(mask[..., 0].sum(2), (48 / acceleration).round().long()[:, None].expand(-1, 4))
    central, _, _ = line_density(48, 4.0)
    assert bool(mask[:, :, central].all())
    found = mask[acceleration == 4, ..., 0].double().mean((0, 1))
    wanted = variable_density_lines(48, 1000, 4.0, generator=generator).double().mean(0)
    # both are means of about 1000 draws: differences have a standard deviation below 0.022
    assert float((found - wanted).abs().max()) < 0.1
    assert bool((mask[:, 0] != mask[:, 1]).any())
    shared, _ = VariableDensityLines((4.0,), shared=True).draw(3, 4, (48, 40), generator)
    assert torch.equal(shared[:, 0], shared[:, 3])
    with pytest.raises(PlausibilityError):
        VariableDensityLines((20.0,)).draw(1, 1, (48, 40), generator)


@pytest.mark.parametrize("matrix", [(24, 20), (25, 20)])
def test_a_bank_gives_each_contrast_its_own_disc(matrix, generator):
    bank = MaskBank.poisson(matrix, (4.0, 6.0), generator=generator, masks=5)
    mask, acceleration = bank.draw(40, 4, matrix, generator)
    assert mask.shape == (40, 4, *matrix)
    count = (matrix[0] * matrix[1] / acceleration).round()
    rows = mask.flatten(2).sum(2)
    # mirroring an even side moves its outermost line onto itself: no sample is lost
    assert torch.equal(rows.float(), count[:, None].expand(-1, 4))
    assert bool(mask[:, :, matrix[0] // 2, matrix[1] // 2].all())
    for one in mask:
        assert len({tuple(m.flatten().tolist()) for m in one}) == 4
    plain = MaskBank(bank.masks, bank.accelerations, mirrored=False).draw(40, 4, matrix, generator)[0]
    held = {tuple(m.flatten().tolist()) for m in bank.masks.flatten(0, 1)}
    assert all(tuple(m.flatten().tolist()) in held for m in plain.flatten(0, 1))
    assert not all(tuple(m.flatten().tolist()) in held for m in mask.flatten(0, 1))
    with pytest.raises(PlausibilityError, match="larger bank"):
        bank.draw(1, 6, matrix, generator)
    with pytest.raises(ShapeError):
        bank.draw(1, 4, (24, 24), generator)
    with pytest.raises(ShapeError):
        MaskBank(bank.masks, (4.0,))


def test_fixed_masks_stay(generator):
    given = variable_density_lines(16, 3, 2.0, generator=generator)[:, :, None]
    mask, acceleration = FixedMasks(given).draw(2, 3, (16, 12), generator)
    assert torch.equal(mask[0], given)
    assert torch.equal(mask[1], given)
    assert acceleration.tolist() == [2.0, 2.0]
    with pytest.raises(ShapeError):
        FixedMasks(given).draw(2, 4, (16, 12), generator)


def test_coils_keep_their_squares_and_get_another_phase(generator):
    bank = CoilBank.of((12, 10), (3, 5), generator=generator, sets=2)
    seen = set()
    for _ in range(12):
        maps = bank.draw(4, generator)
        seen.add(maps.shape[1])
        assert torch.allclose(maps.abs().square().sum(1), torch.ones(4, 12, 10), atol=1e-5)
        source = bank.maps[maps.shape[1]]
        for one in maps:
            ratio = [(one / s).flatten() for s in source]
            assert any(torch.allclose(r, r[0].expand_as(r), atol=1e-4) for r in ratio)
    assert seen == {3, 5}
