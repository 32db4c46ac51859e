"""Reads the manifest that a command names; apart, since `validate` needs nothing else."""

from __future__ import annotations

import sys
from pathlib import Path

from kling_batch.manifest.load import load_manifest
from kling_batch.model import Manifest

STDIN = Path("stdin.yaml")
"""What a manifest from standard input is called."""


def from_stdin(source: Path) -> bool:
    """Whether this stands for a manifest that was read from standard input."""
    return source == STDIN


def read_source(name: str, *, private_urls: bool) -> Manifest:
    """The manifest of this name; `-` is standard input."""
    if name == "-":
        text = sys.stdin.buffer.read()
        return load_manifest(STDIN, text=text, private_urls=private_urls)
    return load_manifest(Path(name), private_urls=private_urls)
