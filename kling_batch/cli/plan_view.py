"""A plan as a person reads it, and as a program does."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from kling_batch.cli.console import (
    clock_time,
    columns,
    count,
    cut,
    dollars,
    paint,
)
from kling_batch.cli.workspace import Workspace
from kling_batch.manifest.problems import clean
from kling_batch.planning.plan import Action, Plan, PlannedJob

ROWS_MAX = 40
_LOOK = {
    Action.SUBMIT: ("+", "green"),
    Action.RESUME: (">", "blue"),
    Action.DOWNLOAD: ("v", "blue"),
    Action.DONE: ("=", "dim"),
    Action.CHANGED: ("~", "yellow"),
    Action.FAILED: ("x", "red"),
    Action.UNKNOWN: ("?", "red"),
    Action.ORPHAN: ("-", "dim"),
}
_WORDS = {
    Action.SUBMIT: "to submit",
    Action.RESUME: "in flight",
    Action.DOWNLOAD: "to download",
    Action.DONE: "done",
    Action.CHANGED: "changed",
    Action.FAILED: "failed",
    Action.UNKNOWN: "unknown",
    Action.ORPHAN: "not in the manifest",
}


def plan_text(plan: Plan, workspace: Workspace, width: int, colours: bool) -> list[str]:
    """The plan as lines: a table, the summary, the timetable, the warnings."""
    lines = [_headline(plan, workspace), ""]
    lines += _table(plan, width, colours)
    lines += ["", paint(summary(plan, workspace), "bold", colours)]
    when = timetable_line(plan, workspace)
    if when:
        lines.append(when)
    lines += [paint(f"warning: {clean(one)}", "yellow", colours) for one in plan.warnings]
    return lines


def summary(plan: Plan, workspace: Workspace) -> str:
    """The plan in a line, as in "Plan: 4 to submit, 3 done: 612 credits (about $5.63)"."""
    parts = [f"{len(jobs):,} {_WORDS[action]}" for action, jobs in plan.by_action().items() if jobs]
    text = f"Plan: {', '.join(parts) or 'no jobs'}"
    credits = plan.credits
    if credits:
        usd = dollars(workspace.manifest.pricing.usd(credits))
        text += f": {credits:,} credits (about {usd})"
    elif not plan.anything_to_do:
        text += ": nothing to buy"
    if plan.timetable.finished_by is not None and not workspace.simulated:
        end = clock_time(plan.timetable.finished_by, workspace.clock.now())
        text += f", done by about {end}"
    return text


def timetable_line(plan: Plan, workspace: Workspace) -> str:
    """When the jobs go, where the hourly limit spreads them.

    As in "60 jobs at 24/1h: 24 now, 24 at 15:02, 12 at 16:02; done by about 16:15".
    """
    waves, now = plan.timetable.waves, workspace.clock.now()
    if len(waves) < 2:
        return ""
    parts = [
        f"{wave.jobs} {'now' if wave.at - now < 60 else 'at ' + clock_time(wave.at, now)}"
        for wave in waves[:6]
    ]
    if len(waves) > 6:
        left = sum(wave.jobs for wave in waves[6:])
        parts.append(f"{left:,} more until {clock_time(plan.timetable.last or now, now)}")
    jobs = count(sum(wave.jobs for wave in waves), "job")
    end = clock_time(plan.timetable.finished_by or now, now)
    rate = f"{plan.timetable.submissions_per_hour}/1h"
    return f"{jobs} at {rate}: {', '.join(parts)}; done by about {end}"


def plan_json(plan: Plan, workspace: Workspace) -> dict[str, Any]:
    """The plan as `plan --json` prints it (schemas/plan.v1.schema.json)."""
    by_action = {
        action.value: {"jobs": len(jobs), "credits": sum(one.credits for one in jobs)}
        for action, jobs in plan.by_action().items()
    }
    table = plan.timetable
    return {
        "name": plan.name,
        "jobs": [_job_json(one) for one in plan.jobs],
        "totals": {
            "jobs": len(plan.jobs),
            "credits": plan.credits,
            "usd": float(round(workspace.manifest.pricing.usd(plan.credits), 4)),
            "by_action": by_action,
        },
        "timetable": {
            "submissions_per_hour": table.submissions_per_hour,
            "first": iso(table.first),
            "last": iso(table.last),
            "finished_by": iso(table.finished_by),
            "waves": [{"jobs": wave.jobs, "at": iso(wave.at)} for wave in table.waves],
        },
        "warnings": list(plan.warnings),
    }


def iso(seconds: float | None) -> str | None:
    """A time in ISO 8601 with its offset."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="seconds")


def _job_json(one: PlannedJob) -> dict[str, Any]:
    request = one.request
    return {
        "id": one.id,
        "action": one.action.value,
        "reason": one.reason,
        "credits": one.credits,
        "duration_seconds": request.duration_seconds,
        "quality_mode": request.quality_mode,
        "character_orientation": request.character_orientation,
        "image_url": request.image_url,
        "video_url": request.video_url,
        "prompt": request.prompt,
        "fingerprint": one.fingerprint,
    }


def _headline(plan: Plan, workspace: Workspace) -> str:
    where = ""
    if workspace.simulated:
        where = ", on the simulator: nothing is charged"
    elif not workspace.address.is_default:
        where = f", at {clean(workspace.address.url)}"
    return f"{plan.name}: {count(len(plan.jobs), 'job')}{where}"


def _table(plan: Plan, width: int, colours: bool) -> list[str]:
    shown, hidden = _selection(plan)
    rows = [
        (
            _LOOK[one.action][0],
            one.action.value,
            cut(one.id, 44),
            f"{one.request.duration_seconds} s",
            one.request.quality_mode,
            f"{one.credits:,}",
            clean(one.reason).replace("\n", " "),
        )
        for one in shown
    ]
    header = ("", "action", "job", "length", "quality", "credits", "why")
    lines = [cut(line, max(width, 60)) for line in columns([header, *rows], frozenset({3, 5}))]
    painted = [paint(lines[0], "dim", colours)] if lines else []
    for one, line in zip(shown, lines[1:], strict=True):
        painted.append(paint(line, _LOOK[one.action][1], colours))
    if hidden:
        painted.append(f"   … and {hidden:,} more (all of them: --json)")
    return painted if rows else []


def _selection(plan: Plan) -> tuple[list[PlannedJob], int]:
    """What fits a screen: of a long plan, what is to be done and what is in doubt comes first."""
    if len(plan.jobs) <= ROWS_MAX:
        return list(plan.jobs), 0
    order = list(Action)
    groups = plan.by_action()
    settled = (Action.DONE, Action.ORPHAN)
    important = [one for one in plan.jobs if one.action not in settled]
    important += (one for action in settled for one in groups[action][:ROWS_MAX])
    shown = sorted(important[:ROWS_MAX], key=lambda one: order.index(one.action))
    return shown, len(plan.jobs) - len(shown)
