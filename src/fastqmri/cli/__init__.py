"""The command line: thin. Everything it does can be done from Python too."""

from __future__ import annotations

import sys

from fastqmri.cli.app import app


def main() -> None:
    """Run the command line; errors of the user's making end it with their text and exit code 2."""
    from fastqmri.cli.console import show_error
    from fastqmri.core import FastqmriError

    try:
        app()
    except FastqmriError as error:
        show_error(error)
        sys.exit(2)
