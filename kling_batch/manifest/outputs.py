"""Which file names are safe below an output folder, on any system."""

from __future__ import annotations

import re

DEFAULT_FILENAME = "{{ id }}.mp4"
_DEVICES = frozenset(
    {"con", "prn", "aux", "nul", "conin$", "conout$"}
    | {f"{port}{number}" for port in ("com", "lpt") for number in "0123456789¹²³"}
)
RESERVED_MAX = max(map(len, _DEVICES))
_UNSAFE_NAME = r'[\x00-\x1f\x7f-\x9f<>:"\\|?*\u2028-\u202e\u2066-\u2069\ud800-\udfff]'


def is_reserved(name: str) -> bool:
    """Whether Windows keeps this file name for a device, whatever extension it has."""
    return name.partition(".")[0].rstrip().lower() in _DEVICES


def output_fault(output: str) -> str | None:
    """Why this is no safe file path below the output folder on any system, or None."""
    if not output.endswith(".mp4"):
        return "does not end in .mp4"
    if len(output) > 240:
        return "is longer than 240 characters"
    if output.startswith(("/", "~")):
        return "is not below the output folder"
    for part in output.split("/"):
        if part == "..":
            return "leaves the output folder"
        if part in ("", ".") or part == ".mp4":
            return "has an empty part"
        if re.search(_UNSAFE_NAME, part):
            return "holds a character that file names can't have"
        if part[-1] in ". " or part[0] == " ":
            return "has a part that starts with a space, or ends in a space or a dot"
        if is_reserved(part):
            return "has a part that is a reserved name on Windows"
    return None
