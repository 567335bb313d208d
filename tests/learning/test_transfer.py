"""qMTNet's parts: the published shapes, the order of the images, what is judged on which images, what is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from fastqmri.core import DataError, Flag, Measurement, ValidityError
from fastqmri.learning.cards import Card
from fastqmri.learning.networks.completion import ContrastCompletion
from fastqmri.learning.transfer_estimator import TwoStageEstimator
from fastqmri.learning.transfer_samples import lone_voxels
from fastqmri.methods import qmtnet
from fastqmri.physics.signal import RamaniSignal

TISSUE = {"F": 0.1, "kr": 30.0, "T2f": 0.05, "T2r": 1e-5, "R1": 0.9}


def card(recipe: Any) -> Card:
    return Card(
        name=recipe.name,
        method="qmtnet",
        title="",
        data="",
        settings={},
        command="",
        seconds=0.0,
        machine="",
        versions={},
        parameters=0,
        sha256="",
        validity=recipe.validity(),
        classical="--method nlls --normalised --water measured",
    )


def scan(protocol: Any, voxels: tuple[int, ...] = (6, 5), **change: float) -> Measurement:
    model = RamaniSignal(protocol, normalised=True, water="measured")
    tissue = {"M0": 1.0, "B1": 1.0, "B0": 0.0, **TISSUE, **change}
    x = torch.stack([torch.full(voxels, tissue[p.name], dtype=torch.float64) for p in model.parameters])
    known = {name: torch.full(voxels, tissue[name]) for name in ("R1", "T2f")}
    return Measurement(model.forward(x).float(), protocol, known=known, noise=0.002, saturation=torch.inf)


class Right(nn.Module):
    """Completes to the true twelve images."""

    def forward(self, images: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        whole = scan(qmtnet.TWELVE, tuple(images.shape[2:])).data
        return whole[None].expand(len(images), -1, -1, -1)


def test_shapes_are_those_of_the_published_weights(test_data: Callable[[str], Path]) -> None:
    """Names and shapes of the authors' Keras files; their protocol is not known, so no numbers are compared."""
    h5py = pytest.importorskip("h5py")
    folder = test_data("weights_qmtnet")

    def kernels(name: str) -> list[tuple[int, ...]]:
        with h5py.File(folder / name) as file:
            found: dict[str, tuple[int, ...]] = {}
            file["model_weights"].visititems(
                lambda path, item: found.update({path: item.shape}) if "kernel" in path else None
            )
        return [found[path] for path in sorted(found)]

    for part, recipe in (("fit", qmtnet.QmtFit), ("1", qmtnet.QmtDirect)):
        for kind in ("conv", "inter"):
            network = recipe().network()
            ours = [(layer.in_features, layer.out_features) for layer in network.body.layers]  # type: ignore[union-attr]
            theirs = kernels(f"qMTNet{'_' * (part == 'fit')}{part}_{kind}.h5")
            assert ours[:-1] == theirs[:-1]
            assert theirs[-1] == (100, 2)
            assert ours[-1] == (100, 3)  # F, kr and, to re-synthesise the signal, T2r
    convolutions = [
        tuple(m.weight.permute(2, 3, 1, 0).shape)
        for m in ContrastCompletion(4, 8).children()
        if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)
    ]
    assert convolutions == kernels("qMTNet_acq_conv.h5")


def test_measured_images_keep_their_places() -> None:
    network = qmtnet.QmtTwoStage().network()
    images, known = torch.rand(1, 4, 6, 5), torch.rand(1, 2, 6, 5)
    found = network(images, known)
    assert torch.equal(found[:, list(qmtnet.MEASURED)], images)
    pairs = list(zip(qmtnet.TWELVE.saturation_angle, qmtnet.TWELVE.offset, strict=True))
    own = list(zip(qmtnet.FOUR.saturation_angle, qmtnet.FOUR.offset, strict=True))
    assert [pairs[i] for i in qmtnet.MEASURED] == own
    assert {offset for _, offset in own} == {443.0, 17235.0}


@pytest.mark.parametrize("voxels", [(6, 5), (6, 5, 2)])
def test_two_stages_judge_the_measured_images_alone(voxels: tuple[int, ...]) -> None:
    recipe = qmtnet.QmtTwoStage()
    network = recipe.network()
    estimator = TwoStageEstimator(
        Right(), network.fit, card(recipe), qmtnet.TWELVE, qmtnet.MEASURED, mapper="nlls"
    )
    measurement = scan(qmtnet.FOUR, voxels)
    maps = estimator.estimate(measurement)
    assert float((maps["F"].value - 0.1).abs().max()) < 1e-4
    assert float((maps["kf"].value - 3.0).abs().max()) < 5e-3
    assert int(maps.flags.max()) == 0
    # the bound of four images, by autograd
    model = RamaniSignal(qmtnet.FOUR, normalised=True, water="measured")
    x = torch.tensor([1.0, 0.1, 30.0, 0.05, 1e-5, 0.9, 1.0, 0.0], dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda x: model.forward(x[:, None])[:, 0], x)[:, [1, 2, 4]]
    wanted = 0.002 * float(torch.linalg.inv(jacobian.T @ jacobian)[0, 0].sqrt())
    assert float(maps["F"].standard_deviation.mean()) == pytest.approx(wanted, rel=0.01)
    # a sample that no tissue gives is seen, though the completion knows nothing of it
    data = measurement.data.clone()
    data[2, 1, 1] += 0.3
    flags = estimator.estimate(dataclasses.replace(measurement, data=data)).flags
    assert bool((flags[1, 1] & int(Flag.MODEL_MISFIT) != 0).all())
    assert int(((flags & int(Flag.MODEL_MISFIT)) != 0).sum()) == flags[1, 1].numel()


@pytest.mark.parametrize("kind", [qmtnet.QmtFit, qmtnet.QmtDirect, qmtnet.QmtTwoStage])
def test_what_lies_outside_the_card_is_refused(kind: Any) -> None:
    recipe = kind()
    estimator = recipe.build(recipe.network(), card(recipe))
    own = scan(recipe.protocol)
    estimator.estimate(own)
    other = own.acquisition.model_copy(update={"offset": tuple(1.3 * d for d in own.acquisition.offset)})
    with pytest.raises(ValidityError, match="nlls --normalised"):
        estimator.estimate(dataclasses.replace(own, acquisition=other))
    with pytest.raises(ValidityError, match="number of values"):
        estimator.estimate(scan(qmtnet.TEN))
    with pytest.raises(DataError, match="T2f"):
        estimator.estimate(dataclasses.replace(own, known={"R1": own.known["R1"]}))
    with pytest.raises(DataError, match="divided by one without"):
        estimator.estimate(dataclasses.replace(own, data=1000 * own.data))
    excited = own.acquisition.model_copy(update={"flip_angle": 0.12})
    estimator.estimate(dataclasses.replace(own, acquisition=excited))


def test_the_fit_learns_from_lone_voxels(monkeypatch: pytest.MonkeyPatch, generator: torch.Generator) -> None:
    """The sum of squares halves in forty steps."""
    recipe = qmtnet.QmtFit()
    images, maps = lone_voxels(recipe.model, 2000, generator=generator)
    monkeypatch.setitem(recipe.__dict__, "_voxels", (images.T.contiguous(), maps.T.contiguous()))
    network = recipe.network()
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    losses = []
    for _ in range(40):
        loss = sum(recipe.loss(network, recipe.draw(generator, 256), 0.0).values(), torch.zeros(()))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])
