"""`init`: a small commented manifest to begin with; never over a file."""

from __future__ import annotations

from pathlib import Path

from kling_batch.cli.console import show
from kling_batch.cli.surroundings import this_command
from kling_batch.errors import ExitCode, UsageError
from kling_batch.manifest.schema import schema_text

MANIFEST, SCHEMA = "manifest.yaml", "manifest.v1.schema.json"
IGNORED = (".kling-batch/", "outputs/", ".env")

_STARTER = """\
# yaml-language-server: $schema=manifest.v1.schema.json
version: 1
name: NAME

# What all jobs share; any of it can be set on a single pair instead.
defaults:
  quality_mode: 720p            # 720p: 12 credits a second, 1080p: 20
  character_orientation: video  # follow the clip (to 30 s), or the image (to 10 s)
  duration_seconds: 5           # 3 to 30, and what the price is computed from
  prompt: "{{ image.label }} performs {{ video.label }}. No distortion."

# Who moves: public URLs of a JPEG, PNG or WebP.
images:
  knight:
    url: https://cdn.example.com/knight.png
    vars: {label: an armoured knight}

# How: public URLs of an MP4, MOV or MKV of 3 to 30 seconds.
videos:
  waltz:
    url: https://cdn.example.com/waltz.mp4
    vars: {label: a slow waltz}

# The jobs. This one's id, and its file's name, is knight--waltz.
pairs:
  - {image: knight, video: waltz}
"""


def command(directory: str) -> ExitCode:
    """Write the manifest, its schema for the editor, and what git should ignore."""
    folder = Path(directory)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        name = folder.resolve().name
        usable = bool(name) and all(c.isascii() and (c.isalnum() or c in "._-") for c in name)
        starter = _STARTER.replace("NAME", name if usable and name[0].isalnum() else "my-batch")
        _write_new(folder / MANIFEST, starter)
        if not (folder / SCHEMA).exists():
            _write_new(folder / SCHEMA, schema_text("manifest"))
        _ignore(folder / ".gitignore")
    except OSError as error:
        raise UsageError(
            f"{error.filename or folder} can't be written: {error.strerror}", "name another folder"
        ) from error
    manifest = str(folder / MANIFEST)
    show(f"Wrote {manifest}. Edit it, then:")
    show(f"  {this_command('plan', manifest)}")
    show(f"  {this_command('run', manifest, '--simulate')}")
    return ExitCode.DONE


def _write_new(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UsageError(f"{path} is there already", "it is left as it is") from None


def _ignore(path: Path) -> None:
    present = path.read_text(encoding="utf-8") if path.exists() else ""
    missing = [one for one in IGNORED if one not in present.split()]
    if missing:
        gap = "" if not present or present.endswith("\n") else "\n"
        with path.open("a", encoding="utf-8") as file:
            file.write(gap + "\n".join(missing) + "\n")
