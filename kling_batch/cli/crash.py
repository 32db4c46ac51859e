"""The log of a bug: the trace without the key, in a file of its own."""

from __future__ import annotations

import os
import tempfile
import traceback
from pathlib import Path

from kling_batch import __version__
from kling_batch.cli.surroundings import KEY_VARIABLE


def write_log(bug: Exception, command: str) -> str:
    """Write the trace; returns the file's path."""
    text = "".join(traceback.format_exception(bug))
    key = os.environ.get(KEY_VARIABLE)
    if key:
        text = text.replace(key, "[key]")
    handle, name = tempfile.mkstemp(prefix="kling-batch-", suffix=".log")
    with os.fdopen(handle, "w") as file:
        file.write(f"kling-batch {__version__}, command {command or 'none'}\n{text}")
    return str(Path(name))
