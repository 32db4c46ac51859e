"""`plan --against REV`: the price of an edit since a git revision, without a checkout."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from kling_batch.cli.change_view import change_json, change_markdown
from kling_batch.cli.console import show, show_json
from kling_batch.cli.git import commit_of, file_at
from kling_batch.cli.surroundings import find_address
from kling_batch.errors import ExitCode, UsageError
from kling_batch.manifest.load import load_manifest
from kling_batch.manifest.problems import ManifestInvalid
from kling_batch.model import Manifest
from kling_batch.planning import change
from kling_batch.structs import replace


def compare(
    manifests: list[str], revision: str, base_url: str | None, *, wants_json: bool, check: bool
) -> ExitCode:
    """Print what changed since; with `check`, say by the exit code whether anything did."""
    private = find_address(base_url).on_loopback
    told, lines = [], []
    changed = False
    for name in manifests:
        if name == "-":
            raise UsageError("what comes from stdin has no revisions", "name a file")
        source = Path(name)
        commit = commit_of(source.parent, revision)
        new = load_manifest(source, private_urls=private)
        old = manifest_at(source, revision, commit, private_urls=private)
        found = change.compare(old, new)
        changed = changed or bool(found.jobs)
        told.append(change_json(found, revision, commit, existed=old is not None))
        lines.append("\n".join(change_markdown(found, revision, commit)))
    if wants_json:
        show_json(told[0] if len(told) == 1 else told)
    else:
        show("\n\n".join(lines))
    return ExitCode.CHANGES_PLANNED if check and changed else ExitCode.DONE


def manifest_at(source: Path, revision: str, commit: str, *, private_urls: bool) -> Manifest | None:
    """The manifest as it stood there, with its tables; None where it was not there yet.

    Raises ManifestInvalid with places in that revision's files.
    """
    text = file_at(source.parent, commit, source.name)
    if text is None:
        return None

    def table(file: Path) -> bytes:
        data = file_at(source.parent, commit, os.path.relpath(file, source.parent))
        if data is None:
            raise FileNotFoundError(errno.ENOENT, f"it is not in {revision}")
        return data

    try:
        return load_manifest(source, text=text, table=table, private_urls=private_urls)
    except ManifestInvalid as invalid:
        raise ManifestInvalid(
            [replace(one, file=f"{revision}:{one.file}") for one in invalid.problems]
        ) from None
