"""The price of an edit: a table for a pull request, and JSON."""

from __future__ import annotations

from typing import Any

from kling_batch.cli.console import count, dollars
from kling_batch.manifest.problems import clean
from kling_batch.planning.change import Change, JobChange, Kind

ROWS_MAX = 50
_MARKS = {Kind.ADDED: "+", Kind.CHANGED: "~", Kind.REMOVED: "-", Kind.RENAMED: "="}


def change_markdown(change: Change, revision: str, commit: str) -> list[str]:
    """The change as Markdown: totals, then the jobs. Nothing of the manifest's is markup there."""
    before, after = change.before, change.after
    lines = [
        f"### {_code(change.name)} against {_code(revision)} ({commit[:10]})",
        "",
        "| | jobs | credits | about |",
        "|---|---:|---:|---:|",
        f"| before | {before.jobs:,} | {before.credits:,} | {dollars(before.usd)} |",
    ]
    for kind in Kind:
        found = change.having(kind)
        if found:
            difference = sum(one.difference for one in found)
            lines.append(f"| {kind.value} | {len(found):,} | {_signed(difference)} | |")
    lines += [
        f"| **after** | **{after.jobs:,}** | **{after.credits:,}** | **{dollars(after.usd)}** |",
        "",
        *_sentences(change),
    ]
    return [*lines, *_rows(change)]


def _sentences(change: Change) -> list[str]:
    if not change.jobs:
        return ["No job and no price changes."]
    said = [f"Rates: {'; '.join(change.rates)}."] if change.rates else []
    added, changed = change.having(Kind.ADDED), change.having(Kind.CHANGED)
    if added or changed:
        said.append(f"To make what is added and changed: {change.to_make:,} credits.")
    if changed:
        said.append(
            f"Of the {count(len(changed), 'changed job')}, those made already are kept unless"
            " `--redo-changed`."
        )
    return [" ".join(said)] if said else []


def _rows(change: Change) -> list[str]:
    listed = [one for one in change.jobs if one.kind is not Kind.REPRICED]
    if not listed:
        return []
    order = list(Kind)
    listed.sort(key=lambda one: order.index(one.kind))
    lines = ["", "| | job | credits | what changed |", "|---|---|---:|---|"]
    lines += [
        f"| {_MARKS[one.kind]} | {_code(one.id)} | {_credits(one)} | {_code(one.reason)} |"
        for one in listed[:ROWS_MAX]
    ]
    if len(listed) > ROWS_MAX:
        lines += ["", f"… and {count(len(listed) - ROWS_MAX, 'more job')} (all: `--json`)."]
    return lines


def _credits(one: JobChange) -> str:
    if one.before is None or one.after is None or one.before == one.after:
        return f"{one.before if one.after is None else one.after:,}"
    return f"{one.before:,} → {one.after:,}"


def _signed(credits: int) -> str:
    return f"{credits:+,}"


def _code(text: str) -> str:
    """As code, where neither markup nor a mention has a meaning, on one line and in one cell."""
    shown = " ".join(clean(text).split()).replace("`", "'").replace("|", "\\|")
    return f"`{shown}`" if shown else ""


def change_json(change: Change, revision: str, commit: str, *, existed: bool) -> dict[str, Any]:
    """The change as `plan --against --json` prints it (schemas/change.v1.schema.json)."""
    return {
        "name": change.name,
        "against": {"revision": revision, "commit": commit, "existed": existed},
        "jobs": [
            {
                "id": one.id,
                "change": one.kind.value,
                "reason": one.reason,
                "credits_before": one.before,
                "credits_after": one.after,
                "renamed_from": one.was,
            }
            for one in change.jobs
        ],
        "totals": {
            "before": _total(change.before),
            "after": _total(change.after),
            "by_change": {
                kind.value: {
                    "jobs": len(change.having(kind)),
                    "credits": sum(one.difference for one in change.having(kind)),
                }
                for kind in Kind
            },
            "credits_to_make": change.to_make,
        },
        "rates": list(change.rates),
    }


def _total(total: Any) -> dict[str, Any]:
    return {
        "jobs": total.jobs,
        "credits": total.credits,
        "usd": float(round(total.usd, 4)),
    }
