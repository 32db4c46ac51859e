"""Reads the manifest that a command names; apart, since `validate` needs nothing else."""

from __future__ import annotations

import sys
from pathlib import Path

from kling_batch.manifest.load import load_manifest
from kling_batch.model import Manifest


def read_source(name: str, *, private_urls: bool) -> Manifest:
    """The manifest of this name; `-` is standard input."""
    if name == "-":
        text = sys.stdin.buffer.read()
        return load_manifest(Path("stdin.yaml"), text=text, private_urls=private_urls)
    return load_manifest(Path(name), private_urls=private_urls)
