"""What git knows of a manifest: the revision for receipts, and files as they stood at another."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from kling_batch.errors import UsageError

_SECONDS = 60.0


def revision_of(manifest: Path) -> tuple[str | None, bool | None]:
    """The commit checked out, and whether the manifest differs from it; None outside of git."""
    head = _said(manifest.parent, "rev-parse", "HEAD")
    if head is None:
        return None, None
    changed = _said(manifest.parent, "status", "--porcelain", "--", manifest.name)
    return head, None if changed is None else bool(changed)


def commit_of(folder: Path, revision: str) -> str:
    """The commit that this revision names in the folder's repository; raises UsageError."""
    if revision.startswith("-") or not revision.strip():
        raise UsageError(f"{revision!r} is no revision", "name a branch, a tag or a commit")
    done = _git(folder, "rev-parse", "--show-toplevel")
    if done.returncode:
        raise UsageError(f"{folder} is in no git repository", _complaint(done))
    done = _git(folder, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    if done.returncode:
        raise UsageError(
            f"git knows no revision {revision}",
            "name a branch, a tag or a commit; in CI, fetch it first: git fetch origin BRANCH",
        )
    return done.stdout.decode().strip()


def file_at(folder: Path, commit: str, name: str) -> bytes | None:
    """The bytes of the file, below the folder, at that commit; None where it was not there.

    Nothing is checked out, and no filter of the user's is run. Raises UsageError.
    """
    listed = _git(folder, "ls-tree", "-z", commit, "--", name)
    if listed.returncode:
        raise UsageError(f"git can't look at {commit[:12]}", _complaint(listed))
    entry = listed.stdout.split(b"\0")[0].split(b"\t")[0].split()
    if len(entry) != 3:
        return None
    mode, kind, blob = entry
    if kind != b"blob" or mode == b"120000":
        raise UsageError(f"{name} was no file at {commit[:12]}", "a link or a folder has no jobs")
    shown = _git(folder, "cat-file", "blob", blob.decode())
    if shown.returncode:
        raise UsageError(f"git can't show {name} at {commit[:12]}", _complaint(shown))
    return shown.stdout


def _said(folder: Path, *words: str) -> str | None:
    try:
        done = _git(folder, *words)
    except UsageError:
        return None
    return None if done.returncode else done.stdout.decode(errors="replace").strip()


def _git(folder: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(  # noqa: S603 -- a fixed command, no shell
            ["git", "-C", str(folder), *words],  # noqa: S607 -- the user's own git
            capture_output=True,
            timeout=_SECONDS,
            check=False,
            env={**os.environ, "GIT_NO_LAZY_FETCH": "1", "GIT_OPTIONAL_LOCKS": "0"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(f"git can't be run: {error}", "is it installed?") from error


def _complaint(done: subprocess.CompletedProcess[bytes]) -> str:
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    return f"git says: {lines[0]}" if lines else ""
