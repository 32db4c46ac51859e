"""The end of a batch that nobody watches: a command of the user's, and the terminal's bell."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from kling_batch.cli.console import say


def run_hook(command: str, summary: Mapping[str, Any]) -> None:
    """Run the user's command line with the summary as JSON on its stdin; its failure is only said.

    It goes to the shell, as it was typed; what it writes to stdout is shown as talk.
    """
    done = subprocess.run(  # noqa: S602 -- the user's own words on the command line
        command, shell=True, input=json.dumps(summary) + "\n", text=True, stdout=2, check=False
    )
    if done.returncode:
        say(f"--on-finish ended with {done.returncode}: {command}")


def ring() -> None:
    """The bell, on a terminal."""
    if sys.stderr.isatty():
        sys.stderr.write("\a")
        sys.stderr.flush()
