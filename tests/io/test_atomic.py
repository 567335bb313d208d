from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fastqmri.core import OutputError
from fastqmri.io import atomic, write_json, write_text


def test_file_appears_whole(tmp_path: Path):
    path = tmp_path / "new" / "folder" / "map.txt"
    with atomic(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()
        assert temporary.name.endswith("map.txt")
    assert path.read_text() == "whole"
    assert [p.name for p in path.parent.iterdir()] == ["map.txt"]


@pytest.mark.parametrize("before", [None, "old"])
def test_failure_in_the_middle_leaves_what_was_there(tmp_path: Path, before: str | None):
    path = tmp_path / "map.txt"
    if before:
        path.write_text(before)
    with pytest.raises(ZeroDivisionError), atomic(path) as temporary:  # noqa: PT012
        temporary.write_text("half")
        raise ZeroDivisionError
    assert [p.read_text() for p in tmp_path.iterdir()] == ([before] if before else [])


def test_leftovers_of_a_killed_run_are_removed(tmp_path: Path):
    code = (
        "import os, pathlib, sys; from fastqmri.io import atomic\n"
        "with atomic(pathlib.Path(sys.argv[1])) as t: t.write_text('half'); os._exit(9)"
    )
    killed = subprocess.run([sys.executable, "-c", code, tmp_path / "map.txt"], check=False, timeout=120)
    assert killed.returncode == 9
    assert len(list(tmp_path.iterdir())) == 1
    write_text(tmp_path / "other.txt", "whole")
    assert [p.name for p in tmp_path.iterdir()] == ["other.txt"]


def test_files_of_running_and_foreign_processes_stay(tmp_path: Path):
    running = tmp_path / f".unfinished-{socket.gethostname()}-{os.getpid()}-a.txt"
    foreign = tmp_path / ".unfinished-elsewhere-1-a.txt"
    ancient = tmp_path / ".unfinished-elsewhere-2-a.txt"
    for path in (running, foreign, ancient):
        path.write_text("half")
    os.utime(ancient, (time.time() - 200_000,) * 2)
    write_text(tmp_path / "b.txt", "whole")
    assert running.exists()
    assert foreign.exists()
    assert not ancient.exists()


def test_parent_that_is_a_file(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="is a file, not a folder") as error:
        write_text(tmp_path / "file" / "below" / "map.txt", "x")
    assert "Choose another output folder" in error.value.remedy


def test_folder_where_the_file_shall_be(tmp_path: Path):
    (tmp_path / "map.txt").mkdir()
    with pytest.raises(OutputError, match="a folder lies where the file shall be"):
        write_text(tmp_path / "map.txt", "x")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_folder(tmp_path: Path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="read-only for this user"):
        write_text(tmp_path / "map.txt", "x")


def test_full_disk(tmp_path: Path):
    with pytest.raises(OutputError, match="No space left") as error, atomic(tmp_path / "map.txt"):
        raise OSError(28, "No space left on device")
    assert "make room" in error.value.remedy
    assert not list(tmp_path.iterdir())


def test_json_has_no_nan(tmp_path: Path):
    write_json(tmp_path / "a.json", {"Units": "mm²/s", "list": [1, 2]})
    assert json.loads((tmp_path / "a.json").read_text()) == {"Units": "mm²/s", "list": [1, 2]}
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert json.loads((tmp_path / "a.json").read_text())["list"] == [1, 2]
