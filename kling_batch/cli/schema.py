"""`schema`: the JSON Schemas, for editors and scripts."""

from __future__ import annotations

from kling_batch.cli.console import show
from kling_batch.errors import ExitCode
from kling_batch.manifest.schema import schema_text


def command(*, kind: str) -> ExitCode:
    """Print the schema of this kind."""
    show(schema_text(kind).rstrip())
    return ExitCode.DONE
