"""What stands where, as a table and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kling_batch.cli.console import columns, count, cut, paint
from kling_batch.cli.plan_view import iso
from kling_batch.manifest.problems import clean
from kling_batch.service.ledger import Balance
from kling_batch.state.records import JobState, Record

_COLOURS = {
    JobState.DOWNLOADED: "green",
    JobState.FAILED: "red",
    JobState.REJECTED: "red",
    JobState.MISSING: "red",
    JobState.UNKNOWN: "yellow",
}


def status_json(
    name: str,
    directory: Path,
    records: Iterable[Record],
    balance: Balance | None,
    decisions: Mapping[str, str],
) -> dict[str, Any]:
    """The status as `status --json` prints it (schemas/status.v1.schema.json)."""
    kept = list(records)
    return {
        "name": name,
        "jobs": [
            {**_record_json(record, directory), "decision": decisions.get(record.id)}
            for record in kept
        ],
        "totals": totals_json(kept),
        "balance": balance and {"credits": balance.credits, "seen_at": iso(balance.seen_at)},
    }


def totals_json(records: Iterable[Record]) -> dict[str, Any]:
    """Jobs by state, and the credits planned, charged and refunded."""
    kept = list(records)
    by_state = Counter(record.state.value for record in kept)
    return {
        "by_state": {state.value: by_state[state.value] for state in JobState},
        "credits_planned": sum(record.credits_planned for record in kept),
        "credits_charged": sum(record.credits_charged or 0 for record in kept),
        "credits_refunded": sum(record.credits_refunded or 0 for record in kept),
        "credits_over_plan": over_plan(kept),
    }


def over_plan(records: Iterable[Record]) -> int:
    """What was charged above the plan, where the charge is known; negative where less was."""
    return sum(
        record.credits_charged - record.credits_planned
        for record in records
        if record.credits_charged is not None
    )


def charged_text(records: Sequence[Record]) -> str:
    """What was charged, held against what was planned: "171 credits charged, 9 fewer …"."""
    charged = sum(record.credits_charged or 0 for record in records)
    refunded = sum(record.credits_refunded or 0 for record in records)
    over = over_plan(records)
    text = f"{charged:,} credits charged"
    if over:
        text += f", {abs(over):,} {'more' if over > 0 else 'fewer'} than planned"
    elif charged:
        text += ", as planned"
    return text + (f", {refunded:,} refunded" if refunded else "")


def _record_json(record: Record, directory: Path) -> dict[str, Any]:
    downloaded = record.state is JobState.DOWNLOADED
    return {
        "id": record.id,
        "state": record.state.value,
        "job_id": record.job_id,
        "attempts": record.attempts,
        "credits_planned": record.credits_planned,
        "credits_charged": record.credits_charged,
        "credits_refunded": record.credits_refunded,
        "error": record.error,
        "output": str((directory / record.output).absolute()) if downloaded else None,
        "sha256": record.sha256,
        "submitted_at": iso(record.submitted_at),
        "finished_at": iso(record.finished_at),
    }


def status_text(
    name: str,
    records: Sequence[Record],
    balance: Balance | None,
    decisions: Mapping[str, str],
    width: int,
    colours: bool,
    rows_max: int | None = None,
) -> list[str]:
    """The status as lines; where not all fit, what is under way and what went wrong comes first."""
    shown = list(records)
    if rows_max is not None and len(shown) > rows_max:
        quiet = (JobState.DOWNLOADED, JobState.PLANNED)
        shown = sorted(shown, key=lambda record: record.state in quiet)[:rows_max]
    rows = [
        (
            record.state.value,
            cut(record.id, 44),
            *([decisions.get(record.id, "")] if decisions else ()),
            "" if record.credits_charged is None else f"{record.credits_charged:,}",
            clean(record.error or (record.output if record.sha256 else "") or record.job_id or ""),
        )
        for record in shown
    ]
    lines = [
        cut(line, max(width, 60)) for line in columns(rows, frozenset({3 if decisions else 2}))
    ]
    painted = lines
    if colours:
        painted = [
            paint(line, _COLOURS.get(record.state, ""), colours)
            for record, line in zip(shown, lines, strict=True)
        ]
    if len(shown) < len(records):
        painted.append(f"… and {len(records) - len(shown):,} more")
    totals = totals_json(records)
    states = ", ".join(f"{n} {state}" for state, n in totals["by_state"].items() if n)
    tail = f"{name}: {count(len(records), 'job')}: {states}; {charged_text(records)}"
    if balance is not None:
        tail += f"; balance last seen: {balance.credits:,}"
    return [*painted, "", paint(tail, "bold", colours)]
