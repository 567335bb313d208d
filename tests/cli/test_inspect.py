"""Commands that only look, and the help of all."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
import torch
from tests import builders
from typer.main import get_command

from fastqmri.cli import app
from fastqmri.core import VariableFlipAngle
from fastqmri.estimators import CATALOGUE, cramer_rao_bound
from fastqmri.physics.signal import SpoiledGradientEcho

GROUPS = ("fit", "simulate", "crlb")
COMMANDS = [
    *(
        (name,)
        for name in (
            *("run", "recon", "qsm", "phantom", "validate", "models", "schedules", "cite", "demo"),
            *("methods", "train", "evaluate"),
        )
    ),
    *((group, model) for group in GROUPS for model in CATALOGUE),
]


def squeezed(text: str) -> str:
    """Without the frame and the line breaks that the terminal's width makes."""
    return " ".join(text.replace("│", " ").split())


# --- help -----------------------------------------------------------------------------------------------


def test_every_command_is_listed_here():
    tree = get_command(app).commands
    assert set(tree) == {name for name, *_ in COMMANDS}
    assert all(set(tree[group].commands) == set(CATALOGUE) for group in GROUPS)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_has_an_example_that_is_accepted(invoke, command):
    result = invoke(*command, "--help")
    assert result.exit_code == 0
    text = squeezed(result.output)
    begin = "fastqmri " + " ".join(command)
    assert "Example" in text
    assert begin in text.partition("Example")[2]


@pytest.mark.parametrize("model", CATALOGUE)
def test_examples_of_fit_are_accepted(invoke, monkeypatch, model):
    """Up to the files, which are not there."""
    text = squeezed(invoke("fit", model, "--help").output).partition("Example")[2]
    words = text[text.index("fastqmri fit") :].partition("Options")[0].split()
    words = words[1 : words.index("--out") + 2]
    result = invoke(*words)
    assert result.exit_code == 2
    assert "does not exist" in squeezed(result.output), result.output


def test_exit_codes_are_documented(invoke):
    text = squeezed(invoke("--help").output)
    assert "Exit codes: 0 done" in text
    assert all(f"{code} " in text for code in (1, 2, 3, 70, 130))


def test_version(invoke):
    from fastqmri import __version__

    assert invoke("--version").output.split() == ["fastqmri", __version__]


def test_command_line_leaves_heavy_libraries_alone():
    code = "import sys, fastqmri.cli; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numba", "matplotlib", "nibabel", "jinja2", "scipy", "dipy"} & set(done.stdout.split())


# --- models, cite ---------------------------------------------------------------------------------------


def test_models_lists_all(invoke):
    result = invoke("models")
    assert result.exit_code == 0
    words = result.output.split()
    assert all(name in words for name in CATALOGUE)
    assert max(map(len, result.output.splitlines())) <= 80


@pytest.mark.parametrize("name", CATALOGUE)
def test_models_shows_one(invoke, name):
    result = invoke("models", name)
    assert result.exit_code == 0
    assert "signal =" in result.output
    assert all(method.name in result.output for method in CATALOGUE[name].methods)


def test_models_shows_units_and_the_value_without_a_map(invoke):
    text = squeezed(invoke("models", "vfa").output)
    assert "T1 s 0.005 … 10" in text
    assert "known; 1 without a map" in text
    assert "Deoni" in text


def test_cite_prints_bibtex_of_exactly_the_models_named(invoke):
    vfa, both, everything = (invoke("cite", *names).output for names in (("vfa",), ("vfa", "dti"), ()))
    assert "@article{deoni2003" in vfa
    assert "basser1994" not in vfa
    assert "basser1994" in both
    assert everything.count("@") > both.count("@") > vfa.count("@")
    for text in (vfa, everything):
        assert text.count("{") == text.count("}")
        keys = [line for line in text.splitlines() if line.startswith("@")]
        assert len(keys) == len(set(keys))


# --- crlb -----------------------------------------------------------------------------------------------


def test_crlb_prints_the_bound(invoke):
    acquisition = ("--flip-angle", "3,20deg", "--repetition-time", "15ms")
    result = invoke("crlb", "vfa", *acquisition, "--at", "T1=0.8s/1300ms", "M0=1000", "--noise-sd", 0.5)
    assert result.exit_code == 0, result.output

    model = SpoiledGradientEcho(VariableFlipAngle(flip_angle=("3deg", "20deg"), repetition_time="15ms"))
    x = torch.tensor([[1000.0, 1000.0], [0.8, 1.3], [1.0, 1.0]], dtype=torch.float64)
    names, bounds = cramer_rao_bound(model, x, 0.5)
    assert names == ("M0", "T1", "R1")
    rows = [line.split() for line in result.output.splitlines() if line.strip().startswith(("0.8", "1.3"))]
    assert len(rows) == 2
    for v, row in enumerate(rows):
        printed = [float(word) for word in row]
        truth = (1000.0, x[1, v], 1 / x[1, v])
        expected = [float(w) for k in range(3) for w in (bounds[k, v], 100 * bounds[k, v] / truth[k])]
        assert printed[0] == float(x[1, v])
        assert printed[1:] == pytest.approx(expected, rel=5e-3)
    assert "T1 [s]" in result.output


def test_crlb_can_count_a_known_parameter_as_unknown(invoke):
    three = ("--flip-angle", "3,10,20deg", "--repetition-time", "15ms", "--at", "T1=1s", "M0=1", "B1=1")
    assert "sd B1" not in invoke("crlb", "vfa", *three).output
    result = invoke("crlb", "vfa", *three, "--also-unknown", "B1")
    assert "sd B1" in result.output


@pytest.mark.parametrize("name", CATALOGUE)
def test_crlb_has_a_typical_acquisition_for_every_model(invoke, name):
    result = invoke("crlb", name)
    assert result.exit_code == 0, result.output
    assert "(typical)" in result.output
    assert not re.search(r"\bnan\b", result.output)
    assert "…" not in result.output  # nothing cut off at 80 columns


@pytest.mark.parametrize(
    ("code", "words", "says"),
    [
        ("FQ501", ("--at", "T7=1s"), "T1"),
        ("FQ101", ("--at", "T1=1"), "1 ms"),
        ("FQ101", ("--at", "T1"), "no value"),
        ("FQ101", ("--at", "B1=much"), "not a number"),
        ("FQ501", ("--noise-model", "poisson"), "gaussian, rician"),
        ("FQ103", ("--flip-angle", "3deg"), "repetition_time"),
        ("FQ501", ("--also-unknown", "B7"), "B1"),
    ],
)
def test_crlb_refuses(refused, code, words, says):
    assert says in refused(code, "crlb", "vfa", *words)


# --- validate -------------------------------------------------------------------------------------------


def test_validate_passes_a_good_dataset(invoke, tmp_path):
    builders.build(tmp_path / "raw")
    result = invoke("validate", tmp_path / "raw")
    assert result.exit_code == 0, result.output
    assert "0 errors" in result.output


def test_validate_tells_a_bad_one(invoke, tmp_path):
    builders.build(tmp_path / "raw")
    (tmp_path / "raw" / "sub-01" / "anat" / "sub-01_inv-2_IRT1.json").unlink()
    path = tmp_path / "raw" / "sub-01" / "dwi" / "sub-01_dwi.nii.gz"
    path.write_bytes(path.read_bytes()[:-30])
    result = invoke("validate", tmp_path / "raw")
    assert result.exit_code == 1
    assert "2 errors" in result.output
    text = squeezed(result.output)
    assert "InversionTime of" in text
    assert "sub-01_dwi.nii.gz" in text
    assert "sub-01_echo" not in text


def test_validate_refuses_what_is_no_dataset(refused, tmp_path):
    refused("FQ301", "validate", tmp_path)
