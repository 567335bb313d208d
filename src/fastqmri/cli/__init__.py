"""The command line: thin. Everything it does can be done from Python too."""

from __future__ import annotations

from fastqmri.cli.app import app


def main() -> None:
    """Run the command line."""
    app()
