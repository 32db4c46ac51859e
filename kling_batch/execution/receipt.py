"""The receipt beside each video: what was asked, what was paid, and what was got for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from kling_batch.files import write_whole
from kling_batch.model import JobRequest
from kling_batch.state.records import Record

KIND = "kling-batch receipt"
# A line for each entry, as `indent` would make them at ten times the cost.
_ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",\n  ", ": ")).encode


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a batch comes from: its manifest, and git's word on it (None outside of git)."""

    manifest: str
    service: str
    contract: str
    revision: str | None = None
    dirty: bool | None = None
    simulated: bool = False


def receipt_of(
    record: Record, provenance: Provenance, file: str, sha256: str, size: int, rate: int
) -> dict[str, Any]:
    """The receipt as JSON. Credits are whole, `rate` is credits a second, times are UTC."""
    return {
        "kind": KIND,
        "version": 1,
        "id": record.id,
        "job_id": record.job_id,
        "file": file,
        "sha256": sha256,
        "size_bytes": size,
        "request": {name: getattr(record.request, name) for name in JobRequest.__slots__},
        "fingerprint": record.fingerprint,
        "credits_planned": record.credits_planned,
        "credits_charged": record.credits_charged,
        "credits_per_second": rate,
        "submitted_at": _utc(record.submitted_at),
        "finished_at": _utc(record.finished_at),
        **{name: getattr(provenance, name) for name in Provenance.__slots__},
    }


def write_receipt(path: Path, receipt: Mapping[str, Any]) -> bool:
    """Put the receipt in its place; False where a file of the user's has that name.

    Its name is durable with the video's, which the same folder gets next.
    """
    if path.exists() and read_receipt(path) is None:
        return False
    write_whole(path, f"{{\n  {_ENCODE(receipt)[1:-1]}\n}}\n".encode(), sync_name=False)
    return True


def read_receipt(path: Path) -> dict[str, Any] | None:
    """The receipt in this file, or None where it holds none."""
    try:
        told = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) and told.get("kind") == KIND else None


def _utc(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds")
