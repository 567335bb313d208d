"""The house itself: light to import, floors that hold, files that fit together."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from itertools import chain
from pathlib import Path

import pytest

import fastqmri

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = ROOT / "pyproject.toml"
PROJECT = tomllib.loads(PYPROJECT.read_text())["project"]

# A path that exists on one machine only. (As a pattern it does not match itself.)
MACHINE_PATH = re.compile(r"(?<![A-Za-z0-9_.])/(?:work|tmp|root|home|Users)/[A-Za-z0-9_]")


def python(code: str) -> str:
    """What a fresh interpreter prints."""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# --- light to import ------------------------------------------------------------------------------------


def test_import_costs_little_more_than_torch():
    def seconds(module: str) -> float:
        clock = "import time; start = time.perf_counter(); import {}; print(time.perf_counter() - start)"
        return float(python(clock.format(module)))

    # Alternating, and the least of each: other work on the machine only ever adds time.
    pairs = [(seconds("torch"), seconds("fastqmri")) for _ in range(3)]
    torch_seconds, own_seconds = (min(column) for column in zip(*pairs, strict=True))
    budget = 1.25 * torch_seconds + 0.3
    assert own_seconds < budget, f"import fastqmri {own_seconds:.2f} s, import torch {torch_seconds:.2f} s"


def test_import_leaves_heavy_libraries_alone():
    heavy = {"numba", "matplotlib", "nibabel", "dipy", "scipy", "skimage", "jinja2", "typer"}

    def loaded(module: str) -> set[str]:
        return set(python(f"import sys, {module}; print(*{{m.split('.')[0] for m in sys.modules}})").split())

    own = loaded("fastqmri")
    assert "fastqmri" in own
    assert not heavy & (own - loaded("torch"))


# --- the floors -----------------------------------------------------------------------------------------


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Check the contracts of the pyproject in `folder` on the package in its src."""
    command = shutil.which("lint-imports", path=sysconfig.get_path("scripts"))
    assert command, "import-linter is missing: install fastqmri[dev]"
    # The working folder is searched first, so that a copy is checked and not what is installed.
    return subprocess.run(
        [command, "--config", str(folder / "pyproject.toml"), "--no-cache"],
        cwd=folder / "src",
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_floors_hold():
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("planted_in", "line", "says"),
    [
        ("core/planted.py", "import fastqmri.estimators", "fastqmri.core.planted -> fastqmri.estimators"),
        ("physics/signal/planted.py", "import fastqmri.io", "fastqmri.physics.signal.planted -> fastqmri.io"),
        ("solvers/planted.py", "def f():\n    from fastqmri import physics", "fastqmri.solvers.planted"),
        ("estimators/planted.py", "import nibabel", "fastqmri.estimators.planted -> nibabel"),
        ("attic/__init__.py", "", "fastqmri.attic"),
    ],
    ids=["upward", "sideways", "lazy", "file-library", "folder-without-floor"],
)
def test_floors_bite(tmp_path, planted_in, line, says):
    shutil.copy(PYPROJECT, tmp_path)
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    planted = tmp_path / "src" / "fastqmri" / planted_in
    planted.parent.mkdir(exist_ok=True)
    planted.write_text(line + "\n")
    done = lint_imports(tmp_path)
    assert done.returncode != 0
    assert says in done.stdout + done.stderr


# --- files that fit together ----------------------------------------------------------------------------


def tracked_files() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def machine_paths(text: str) -> list[str]:
    return [line for line in text.splitlines() if MACHINE_PATH.search(line)]


def test_no_machine_paths():
    found = {}
    for path in tracked_files():
        try:
            lines = machine_paths(path.read_text(encoding="utf-8"))
        except UnicodeDecodeError:  # an image, say
            continue
        if lines:
            found[str(path.relative_to(ROOT))] = lines
    assert not found


@pytest.mark.parametrize("folder", ["work", "tmp", "root", "home"])
def test_machine_path_check_bites(folder):
    assert machine_paths(f'data = "/{folder}/someone/scan.nii"')
    assert not machine_paths(f"https://example.org/{folder}/page and ../{folder}/scan.nii")


def test_readme_commands_exist_in_makefile():
    wanted = set(re.findall(r"\bmake ([a-z][\w-]*)", code_of(ROOT / "README.md")))
    targets = set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert {"demo", "test"} <= wanted, "the README shows how to see it work and how to test it"
    assert wanted <= targets


def code_of(markdown: Path) -> str:
    """Code blocks and code spans of a page; its prose may say 'make sure'."""
    return "\n".join(re.findall(r"```.*?```|`[^`\n]+`", markdown.read_text(), flags=re.DOTALL))


def test_version_is_pyprojects():
    assert fastqmri.__version__ == PROJECT["version"]


def test_every_dependency_is_pinned():
    def name(requirement: str) -> str:
        return re.match(r"[\w.-]+", requirement)[0].lower().replace("_", "-")

    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    declared = [*PROJECT["dependencies"], *chain(*PROJECT["optional-dependencies"].values())]
    assert {name(r) for r in declared} - {"fastqmri"} <= set(pins)
    assert "torch" in pins
