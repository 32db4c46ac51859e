"""The manifest's revision in git, for receipts."""

from __future__ import annotations

import subprocess
from pathlib import Path


def revision_of(manifest: Path) -> tuple[str | None, bool | None]:
    """The commit checked out, and whether the manifest differs from it; None outside of git."""
    head = _git(manifest.parent, "rev-parse", "HEAD")
    if head is None:
        return None, None
    changed = _git(manifest.parent, "status", "--porcelain", "--", manifest.name)
    return head, None if changed is None else bool(changed)


def _git(folder: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603 -- a fixed command, no shell
            ["git", "-C", str(folder), *words],  # noqa: S607 -- the user's own git
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
