from __future__ import annotations

import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from fastqmri.cli import app

Invoke = Callable[..., Result]


@pytest.fixture(scope="session")
def invoke() -> Invoke:
    """Runs a command in this process: ``invoke("fit", "vfa", ...)``; paths may be given as they are."""

    def run(*words: object) -> Result:
        return CliRunner().invoke(app, [str(word) for word in words])

    return run


@pytest.fixture
def refused(invoke: Invoke) -> Callable[..., str]:
    """Runs a command that must end with an error of the user's making; its text."""

    def run(code: str, *words: object) -> str:
        result = invoke(*words)
        assert result.exit_code == 2, result.output
        assert isinstance(result.exception, SystemExit), result.exception
        text = " ".join(result.output.split())
        for part in (f"Error {code}", "Read:", "Why this can't be right:", "What to do:"):
            assert part in text
        assert "Traceback" not in text
        return text

    return run


@pytest.fixture(scope="session")
def program() -> Path:
    """The command that people type."""
    return Path(sysconfig.get_path("scripts")) / "fastqmri"
