"""Networks of single voxels as solvers: amplitude, standard deviations, finishing, flags, refusals."""

import dataclasses

import pytest
import torch

from fastqmri.core import DataError, FastqmriError, Flag, Measurement, MultiEchoSpinEcho
from fastqmri.estimators.cramer_rao import cramer_rao_bound
from fastqmri.estimators.least_squares import least_squares
from fastqmri.learning.voxelwise_inference import NetworkSolve, Scaled, VoxelNetwork, voxelwise_network
from fastqmri.physics.signal import ExponentialDecay
from fastqmri.physics.spins import FingerprintingSignal
from fastqmri.physics.spins.schedules.fingerprinting import drone_25

MODEL = ExponentialDecay(MultiEchoSpinEcho(echo_time=tuple(0.01 * i for i in range(1, 9))))
RANGE = Scaled("T2", 0.02, 0.3, logarithmic=True)
SIGMA = 0.01


@pytest.fixture(scope="module")
def network():
    """A few hundred steps are enough for a decay."""
    generator = torch.Generator().manual_seed(3)
    echoes = torch.tensor(MODEL.acquisition.echo_time)

    def draw():
        t2 = RANGE.to_value(2 * torch.rand(256, generator=generator) - 1)
        clean = torch.exp(-echoes / t2[:, None])
        return clean + SIGMA * torch.randn(clean.shape, generator=generator), t2

    found = VoxelNetwork(torch.eye(8)[:, ::2], (RANGE,), (16, 16), generator=generator)
    optimiser = torch.optim.Adam(found.parameters(), 1e-2)
    for _ in range(300):
        signals, t2 = draw()
        optimiser.zero_grad()
        (found(signals) - found.targets({"T2": t2})).square().mean().backward()
        optimiser.step()
    return found.eval()


def measured(generator, voxels=200, low=0.03, high=0.2):
    x = torch.stack([0.5 + torch.rand(voxels, generator=generator), torch.empty(voxels)])
    x[1] = low + (high - low) * torch.rand(voxels, generator=generator)
    data = MODEL(x) + SIGMA * torch.randn(8, voxels, generator=generator)
    return x, Measurement(data, MODEL.acquisition, noise=SIGMA)


@pytest.mark.parametrize("logarithmic", [False, True])
def test_scales_go_both_ways(logarithmic):
    scaled = Scaled("T1", 0.1, 4.0, logarithmic)
    values = torch.tensor([0.1, 0.3, 4.0])
    torch.testing.assert_close(scaled.to_value(scaled.to_unit(values)), values)
    torch.testing.assert_close(scaled.to_unit(values)[[0, 2]], torch.tensor([-1.0, 1.0]))
    assert scaled.outside(torch.tensor([0.09, 0.1, 1.0, 4.0, 5.0])).tolist() == [
        True,
        True,
        False,
        True,
        True,
    ]
    with pytest.raises(DataError):
        Scaled("T1", 1.0, 1.0)


def test_predictor_equals_the_network_in_blocks_of_any_size(generator, network):
    _, measurement = measured(generator, 5000)
    with torch.no_grad():
        plain = RANGE.to_value(network(measurement.data.T)[:, 0].clamp(-1, 1))
    fast = network.predictor()(measurement.data, {})[0]
    torch.testing.assert_close(fast, plain, rtol=1e-5, atol=0)


def test_amplitude_residual_and_deviation_at_the_network_output(generator, network):
    _, measurement = measured(generator)
    maps = voxelwise_network(MODEL, network, "net", finishing=0).estimate(measurement)
    t2, m0 = maps["T2"].value.double(), maps["M0"].value.double()
    shape = torch.exp(-torch.tensor(MODEL.acquisition.echo_time).double()[:, None] / t2)
    by_hand = (shape * measurement.data).sum(0) / shape.square().sum(0)
    torch.testing.assert_close(m0, by_hand, rtol=1e-5, atol=1e-6)
    misfit = (measurement.data - m0 * shape).square().mean(0).sqrt()
    torch.testing.assert_close(maps.residual.double(), misfit, rtol=1e-3, atol=1e-6)
    names, bound = cramer_rao_bound(MODEL, torch.stack([m0, t2]), SIGMA)
    torch.testing.assert_close(
        maps["T2"].standard_deviation.double(), bound[names.index("T2")], rtol=1e-3, atol=0
    )


def test_finishing_ends_at_least_squares(generator, network):
    truth, measurement = measured(generator)
    plain = voxelwise_network(MODEL, network, "net", finishing=0).estimate(measurement)
    finished = voxelwise_network(MODEL, network, "net").estimate(measurement)
    fitted = least_squares(MODEL).estimate(measurement)
    torch.testing.assert_close(finished["T2"].value, fitted["T2"].value, rtol=2e-4, atol=0)
    torch.testing.assert_close(
        finished["T2"].standard_deviation, fitted["T2"].standard_deviation, rtol=2e-3, atol=0
    )
    error = ((plain["T2"].value - truth[1]) / truth[1]).abs().mean()
    assert error < 0.1  # the network itself was trained, too


def test_tissue_outside_the_trained_range_is_flagged(generator, network):
    _, far = measured(generator, 100, 0.6, 0.9)
    _, inside = measured(generator, 100, 0.05, 0.15)
    for finishing in (0, 10):
        estimator = voxelwise_network(MODEL, network, "net", finishing=finishing)
        flag = int(Flag.OUTSIDE_TRAINING_RANGE)
        assert bool(((estimator.estimate(far).flags & flag) != 0).all())
        assert not bool(((estimator.estimate(inside).flags & flag) != 0).any())


def test_voxels_with_samples_left_out_are_fitted(generator, network):
    truth, measurement = measured(generator)
    data = measurement.data.clone()
    data[2, :20] = torch.nan
    maps = voxelwise_network(MODEL, network, "net", finishing=0).estimate(
        dataclasses.replace(measurement, data=data)
    )
    error = ((maps["T2"].value - truth[1]) / truth[1])[:20].abs()
    assert float(error.max()) < 0.2


def test_known_quantities_are_inputs(generator):
    b1 = Scaled("B1", 0.7, 1.3)
    outputs = (Scaled("T1", 0.1, 4.0, True), Scaled("T2", 0.01, 0.6, True))
    network = VoxelNetwork(torch.eye(25)[:, :6], outputs, (8,), (b1,), generator=generator)
    signals, field = (
        torch.rand(25, 300, generator=generator),
        0.7 + 0.6 * torch.rand(300, generator=generator),
    )
    with torch.no_grad():
        plain = network(signals.T, network.inputs({"B1": field})).clamp(-1, 1)
    fast = network.predictor()(signals, {"B1": field})
    for row, scaled in enumerate(outputs):
        torch.testing.assert_close(fast[row], scaled.to_value(plain[:, row]), rtol=1e-4, atol=0)
    model = FingerprintingSignal(drone_25())
    measurement = Measurement(signals, model.acquisition, known={"B1": field})
    found = voxelwise_network(model, network, "net").estimate(measurement)
    assert found.names[:3] == ("M0", "T1", "T2")


def test_other_models_and_protocols_are_refused(network):
    longer = ExponentialDecay(MultiEchoSpinEcho(echo_time=tuple(0.01 * i for i in range(1, 11))))
    with pytest.raises(FastqmriError, match="10 images"):
        NetworkSolve(network)(longer, torch.ones(10, 3), None, {})
    with pytest.raises(FastqmriError, match="other parameters"):
        NetworkSolve(network)(FingerprintingSignal(drone_25()), torch.ones(25, 3), None, {})
