"""Numbers of an evaluation against closed forms and planted errors."""

import csv
import io
import math

import pytest
import torch

from fastqmri.learning.evaluation import (
    Result,
    as_csv,
    as_text,
    bias_and_spread,
    expected_errors,
    mean_percent_error,
    relative_error,
    standings,
    structural_similarity,
)

EVERY = torch.ones(40, 40, dtype=torch.bool)


def test_metrics_of_a_planted_error(generator: torch.Generator) -> None:
    truth = 1 + torch.rand(40, 40, generator=generator)
    assert relative_error(1.1 * truth, truth, EVERY) == pytest.approx(10, rel=1e-5)
    assert mean_percent_error(0.97 * truth, truth, EVERY) == pytest.approx(3, rel=1e-5)
    bias, spread = bias_and_spread(truth + 0.2, truth, EVERY)
    assert bias == pytest.approx(100 * 0.2 / float(truth.mean()), rel=1e-5)
    assert spread == pytest.approx(0, abs=1e-4)
    noisy = truth + 0.1 * torch.randn(40, 40, generator=generator)
    error = (noisy - truth).double()
    assert bias_and_spread(noisy, truth, EVERY)[1] == pytest.approx(
        100 * float(error.std() / truth.double().mean()), rel=1e-6
    )


def test_what_was_not_estimated_counts_as_zero() -> None:
    truth = torch.ones(10)
    value = truth.clone()
    value[0] = math.nan
    inside = torch.ones(10, dtype=torch.bool)
    assert relative_error(value, truth, inside) == pytest.approx(100 * math.sqrt(0.1))
    assert mean_percent_error(value, truth, inside) == pytest.approx(10)
    assert relative_error(value, truth, inside & value.isfinite()) == 0


def test_similarity_is_that_of_scikit_image(generator: torch.Generator) -> None:
    metrics = pytest.importorskip("skimage.metrics")
    truth = torch.rand(40, 40, generator=generator, dtype=torch.float64)
    value = truth + 0.2 * torch.randn(40, 40, generator=generator, dtype=torch.float64)
    inside = torch.zeros_like(EVERY)
    inside[3:-3, 3:-3] = True
    _, every = metrics.structural_similarity(truth.numpy(), value.numpy(), data_range=1.0, full=True)
    assert structural_similarity(truth, truth, EVERY, 1.0) == pytest.approx(1)
    far = torch.zeros_like(EVERY)
    far[12:-12, 12:-12] = True  # windows that see no border
    maps = structural_similarity(value, truth, EVERY, 1.0)
    assert maps == pytest.approx(float(every[3:-3, 3:-3].mean()), abs=0.02)


def test_interval_is_that_of_the_mean() -> None:
    row = Result.over("case", "net", "T2", "nRMSE", "%", [1.0, 2.0, 4.0])
    assert row.value == pytest.approx(7 / 3)
    assert row.half_width == pytest.approx(1.96 * math.sqrt(7 / 3) / math.sqrt(3))  # variance 7/3
    assert Result.over("case", "net", "T2", "nRMSE", "%", [1.0]).half_width is None


def rows(*values: tuple[str, float, float], metric: str = "nRMSE") -> list[Result]:
    return [
        Result(
            case="brain", method=m, quantity="T2", metric=metric, unit="%", value=v, half_width=h, samples=3
        )
        for m, v, h in values
    ]


def test_standing_is_against_the_best_rival() -> None:
    results = rows(
        ("net", 4, 0.1),
        ("net, finished", 1, 0.1),
        ("nlls", 5, 0.1),
        ("llr", 8, 0.1),
        ("Cramér-Rao bound", 0.5, 0),
        ("mapping network alone", 0.1, 0),
    )
    one, finished = standings(results, "net")
    assert one.rival.method == "nlls"
    assert one.gain == pytest.approx(0.2)
    assert (finished.rival.method, finished.gain) == ("nlls", pytest.approx(0.8))
    assert one.verdict == "better"
    assert one.text == "net: better by 20 %, brain: T2 nRMSE 4 ± 0.1 %, nlls 5 ± 0.1 %"
    (same,) = standings(rows(("net", 4.0, 0.3), ("nlls", 4.4, 0.3)), "net")
    assert same.verdict == "no clear difference"
    (worse,) = standings(rows(("net", 10.0, 0.0), ("nlls", 1.0, 0.0)), "net")
    assert worse.text.startswith("net: worse by a factor of 10")
    (similar,) = standings(rows(("net", 0.9, 0.0), ("a", 0.8, 0.0), ("b", 0.7, 0.0), metric="SSIM"), "net")
    assert (similar.rival.method, similar.verdict) == ("a", "better")
    (biased,) = standings(rows(("net", -3.0, 0.0), ("a", 1.0, 0.0), ("b", -2.0, 0.0), metric="bias"), "net")
    assert (biased.rival.method, biased.verdict) == ("a", "worse")


def test_expected_error_is_the_worst_inside_the_card() -> None:
    results = [*rows(("net", 4, 0), ("nlls", 9, 0)), *rows(("net", 3, 0)), *rows(("net", 50, 0))[:1]]
    results[-1] = results[-1].model_copy(update={"case": "shift: lesion"})
    assert expected_errors(results, "net") == {"T2": pytest.approx(0.04)}


def test_tables_hold_every_number() -> None:
    results = rows(("net", 4.25, 0.125), ("nlls", 5, 0.1))
    text = as_text(results)
    assert "brain  (3 samples)" in text
    assert "T2 nRMSE [%]" in text
    assert "4.25 ± 0.12" in text
    read = list(csv.DictReader(io.StringIO(as_csv(results))))
    assert [float(r["value"]) for r in read] == [4.25, 5.0]
    assert read[0]["half_width"] == "0.125"


def test_time_is_held_against_the_method_that_is_good() -> None:
    times = [
        r.model_copy(update={"quantity": "time", "metric": "CPU", "unit": "s"})
        for r in rows(("net", 2, 0), ("good", 20, 0), ("poor", 1, 0))
    ]
    results = [*times, *rows(("net", 5, 0), ("good", 5, 0), ("poor", 50, 0))]
    error, time = standings(results, "net")
    assert (error.rival.method, time.rival.method) == ("good", "good")
    assert time.text.startswith("net: better by a factor of 10")
