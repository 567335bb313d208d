"""What becomes of mistakes, bugs, interruptions and kills."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel
import pytest
from tests import builders

# --- mistakes in usage ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ("fitt",),
        ("fit", "vfaa"),
        ("fit", "vfa"),
        ("fit", "vfa", "--tr", "15ms"),
        ("fit", "mese", "--threads", "-1"),
        ("run",),
        ("simulate", "vfa", "--size", "3", "--out", "x"),
    ],
)
def test_usage_errors_end_with_2(invoke, words):
    result = invoke(*words)
    assert result.exit_code == 2
    assert "Usage" in result.output


@pytest.mark.parametrize("words", [("models", "vfaa"), ("cite", "vfaa")])
def test_unknown_model_is_refused_with_those_there_are(refused, words):
    assert "vfa, irt1" in refused("FQ501", *words)


# --- bugs -----------------------------------------------------------------------------------------------


@pytest.fixture
def broken(monkeypatch):
    """A command with a bug in it."""

    def fail(*_: object) -> None:
        raise ZeroDivisionError("planted [not markup]")

    monkeypatch.setattr("fastqmri.io.validate", fail)


def test_bug_is_said_to_be_one(invoke, broken):
    result = invoke("validate", "study")
    assert result.exit_code == 70
    text = " ".join(result.output.split())
    assert "This is a bug in fastqmri" in text
    assert "ZeroDivisionError: planted [not markup]" in text
    assert "--debug" in text
    assert "Traceback" not in text


@pytest.mark.parametrize("words", [("--debug", "validate", "study"), ("validate", "study", "--debug")])
def test_debug_shows_where_wherever_it_stands(invoke, broken, words):
    result = invoke(*words)
    assert result.exit_code == 70
    assert "Traceback" in result.output
    assert "in fail" in result.output


def test_debug_shows_where_errors_of_the_user_arose(invoke):
    result = invoke("validate", "nowhere", "--debug")
    assert result.exit_code == 2
    assert "Traceback" in result.output
    assert "Error FQ301" in result.output


# --- interruptions --------------------------------------------------------------------------------------


def test_interruption_ends_with_130(invoke, monkeypatch):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fastqmri.io.validate", interrupt)
    result = invoke("validate", "study")
    assert result.exit_code == 130
    assert "Interrupted" in result.output
    assert "Traceback" not in result.output


# Stops when the second scan is being mapped: before its first file, or in the middle of writing one.
HANG = """
import sys, time
from pathlib import Path
import nibabel
from fastqmri.cli import job, main

sign, where = Path(sys.argv.pop(1)), sys.argv.pop(1)
calls = []

def hang():
    sign.touch()
    time.sleep(300)

def hanging_estimate(one, whole=job.estimate):
    calls.append(one)
    if len(calls) == 2 and where == "estimate":
        hang()
    return whole(one)

def hanging_save(image, path, whole=nibabel.save):
    whole(image, path)
    if len(calls) == 2 and where == "save" and "T2map" in str(path):
        content = Path(path).read_bytes()
        Path(path).write_bytes(content[: len(content) // 2])
        hang()

job.estimate, nibabel.save = hanging_estimate, hanging_save
main()
"""


def begin_and_stop(tmp_path: Path, where: str, kind: signal.Signals) -> tuple[int, str]:
    """Start a run of two scans and stop it in the second one; its exit status and what it said."""
    sign = tmp_path / "sign"
    words = [sys.executable, "-c", HANG, sign, where, "run", tmp_path / "raw", tmp_path / "maps"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        for _ in range(1200):
            if sign.exists() or process.poll() is not None:
                break
            time.sleep(0.1)
        assert sign.exists(), process.communicate()
        process.send_signal(kind)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, said


def visible(folder: Path) -> list[Path]:
    """Files at their final names."""
    return [p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".unfinished")]


@pytest.mark.parametrize("where", ["estimate", "save"])
def test_killed_run_leaves_whole_files_and_is_continued(invoke, tmp_path, where):
    dataset = builders.Dataset(tmp_path / "raw")
    builders.add_mese(dataset, "01")
    builders.add_mese(dataset, "02")
    maps = tmp_path / "maps"

    status, _ = begin_and_stop(tmp_path, where, signal.SIGKILL)

    assert status == -signal.SIGKILL
    first = {path: path.stat().st_mtime_ns for path in visible(maps) if "sub-01" in path.name}
    assert maps / "logs" / "sub-01_MESE.json" in first
    for path in visible(maps):
        if path.name.endswith(".nii.gz"):
            nibabel.load(path).get_fdata()
        elif path.suffix == ".json":
            json.loads(path.read_text())
    assert not list(maps.rglob("sub-02*report.html"))
    assert not (maps / "logs" / "sub-02_MESE.json").exists()
    if where == "estimate":
        assert not (maps / "sub-02").exists()
    else:
        assert [path for path in maps.rglob(".unfinished*T2map*")]
        assert not list(maps.rglob("sub-02*T2map.nii.gz"))

    again = invoke("run", tmp_path / "raw", maps)

    assert again.exit_code == 0, again.output
    assert "sub-01_MESE: done already" in again.output
    assert {path: path.stat().st_mtime_ns for path in first} == first
    assert (maps / "logs" / "sub-02_MESE.json").exists()
    assert not list(maps.rglob(".unfinished*"))
    names = {p.name.replace("sub-02", "sub-01") for p in visible(maps / "sub-02")}
    assert names == {p.name for p in visible(maps / "sub-01")}


def test_interrupted_run_says_so_and_ends_with_130(tmp_path):
    dataset = builders.Dataset(tmp_path / "raw")
    builders.add_mese(dataset, "01")
    builders.add_mese(dataset, "02")
    status, said = begin_and_stop(tmp_path, "save", signal.SIGINT)
    assert status == 130
    assert "Interrupted" in said
    assert "Traceback" not in said
    # there is time to tidy up, unlike with a kill
    assert not list((tmp_path / "maps").rglob(".unfinished*"))


def test_closed_pipe_is_no_bug(program):
    done = subprocess.run(
        f"'{program}' cite | head -n 1",
        shell=True,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.startswith("@")
    assert "bug" not in done.stderr
    assert "Traceback" not in done.stderr
