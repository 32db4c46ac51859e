"""What a run shows meanwhile: a bar and a line for each thing that matters, or JSON Lines."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from kling_batch.cli.console import clock_time, coloured, count, duration, escapes, paint, say
from kling_batch.cli.plan_view import iso
from kling_batch.clock import Clock
from kling_batch.manifest.problems import clean
from kling_batch.state.store import Happening

LOOK_SECONDS = 2.0

Line = Callable[[Happening, Mapping[str, Any]], str]


class Progress(Protocol):
    """Takes in what happens."""

    def saw(self, happening: Happening) -> None:
        """One thing happened, and is on record."""

    def note(self, text: str) -> None:
        """A word of the program's own."""

    def close(self) -> None:
        """The run is over."""


class JsonEvents:
    """One event a line on stdout (schemas/event.v1.schema.json)."""

    def saw(self, happening: Happening) -> None:
        """Write the event; a reader that left is nobody to tell."""
        event: dict[str, Any] = {"event": happening.name, "at": iso(happening.at)}
        if happening.job is not None:
            event["job"] = happening.job
        for key, value in (happening.detail or {}).items():
            event[key] = iso(value) if key == "until" else value
        write_event(event)

    def note(self, text: str) -> None:
        """Talk goes to stderr."""
        say(clean(text))

    def close(self) -> None:
        """Nothing is held open."""


def write_event(event: Mapping[str, Any]) -> None:
    """One line of JSON on stdout, at once."""
    try:
        print(json.dumps(event, ensure_ascii=escapes(sys.stdout)), flush=True)
    except (OSError, ValueError):  # the reader left, or the disk under it is full
        sys.stdout = open("/dev/null", "w")  # noqa: SIM115, PTH123 -- for the rest of the process


class Lines:
    """A line on stderr for each thing that matters, and on a terminal a bar below them."""

    def __init__(
        self,
        total: int,
        planned: int,
        clock: Clock,
        expected_end: Callable[[], float | None],
        *,
        quiet: bool,
        verbose: bool,
    ) -> None:
        self._clock = clock
        self._expected_end = expected_end
        self._quiet = quiet
        self._verbose = verbose
        self._colours = coloured(sys.stderr)
        self._credits = 0
        self._planned = planned
        self._end: float | None = None
        self._look_again = 0.0
        self._bar: Any = None
        if sys.stderr.isatty() and not quiet and total:
            from tqdm import tqdm

            self._bar = tqdm(
                total=total,
                unit="job",
                file=sys.stderr,
                dynamic_ncols=True,
                bar_format="{n_fmt}/{total_fmt} {bar} {desc}",
                leave=False,
            )

    def saw(self, happening: Happening) -> None:
        """Write the line that this deserves, if any, and move the bar."""
        detail = happening.detail or {}
        if happening.name == "submitted":
            self._credits += int(detail.get("credits", 0))
        if self._bar is not None and happening.name in _MOVES:
            self._bar.update(happening.name in _ENDS)
            self._refresh()
        colour, line, always = _LINES.get(happening.name, ("", None, False))
        if line is None or (self._quiet and not always):
            return
        told_by_bar = happening.name in _TOLD_BY_BAR and self._bar is not None
        if not self._verbose and (told_by_bar or happening.name in _VERBOSE):
            return
        job = f"{happening.job}  " if happening.job else ""
        self._write(paint(job + clean(line(happening, detail)), colour, self._colours))

    def note(self, text: str) -> None:
        """A word of the program's own, above the bar."""
        self._write(clean(text))

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _write(self, text: str) -> None:
        if self._bar is not None:
            self._bar.write(text, file=sys.stderr)
        else:
            say(text)

    def _refresh(self) -> None:
        """The words behind the bar: what is spent of what was planned, and the end in sight."""
        if self._bar is None:
            return
        words = f"{self._credits:,} of {self._planned:,} credits" if self._planned else ""
        now = self._clock.steady()
        if now >= self._look_again:  # looking far ahead takes time where thousands wait
            self._end, self._look_again = self._expected_end(), now + LOOK_SECONDS
        if self._end is not None:
            words += f", done by about {clock_time(self._end, self._clock.now())}"
        self._bar.set_description_str(words.removeprefix(", "))


_ENDS = frozenset({"downloaded", "failed", "rejected", "missing"})
_MOVES = _ENDS | {"approved", "submitted", "waiting", "adopted", "planned_again"}
# On a terminal the bar says as much as these.
_TOLD_BY_BAR = frozenset({"submitted", "downloaded"})
_VERBOSE = frozenset({"fetching_again"})


def _waiting(happening: Happening, detail: Mapping[str, Any]) -> str:
    until = clock_time(detail["until"], happening.at)
    return f"waiting {duration(detail['seconds'])}, until {until}: {detail['reason']}"


def _failed(_: Happening, detail: Mapping[str, Any]) -> str:
    back = detail.get("credits_refunded")
    return f"failed: {detail['error']}" + (f" ({back} credits came back)" if back else "")


_LINES: Mapping[str, tuple[str, Line | None, bool]] = {
    # event: colour, line, whether it is said even when quiet
    "submitted": ("", lambda _, d: f"submitted for {d['credits']} credits", False),
    "downloaded": ("green", lambda _, d: f"-> {d['output']}", False),
    "rejected": ("red", lambda _, d: f"refused: {d['error']}", True),
    "failed": ("red", _failed, True),
    "unknown": (
        "yellow",
        lambda _, d: (
            f"its outcome is unknown: {d['reason']}; nothing is resent, the history is looked at"
        ),
        True,
    ),
    "adopted": ("green", lambda _, d: f"found in the history as {d['job_id']}", False),
    "planned_again": ("", lambda _, d: f"planned again: {d['reason']}", False),
    "undecided": ("yellow", lambda _, d: f"stays unknown: {d['reason']}", True),
    "extra": ("yellow", lambda _, d: f"came unasked as {d['job_id']}; it is fetched too", True),
    "conflict": ("red", lambda _, d: f"job {d['job_id']} is already another job's", True),
    "missing": ("red", lambda _, d: f"the service no longer knows it: {d['reason']}", True),
    "charge_differs": (
        "red",
        lambda _, d: f"was charged {d['charged']} credits, planned were {d['planned']}",
        True,
    ),
    "waiting": ("", _waiting, False),
    "fetching_again": ("", lambda _, d: f"fetched again: {d['reason']}", False),
    "left": ("yellow", lambda _, d: f"left for a later run: {d['reason']}", True),
    "refunded": ("", lambda _, d: f"{d['credits']} credits came back", False),
    "renamed": ("", lambda _, d: f"taken over from {d['from']}", False),
    "approved": ("", None, False),
}


def totals_text(done: int, failed: int, charged: str) -> str:
    """The end of a run in a line."""
    parts = [f"{count(done, 'video')} there"]
    if failed:
        parts.append(f"{failed} failed")
    return f"{', '.join(parts)}; {charged}"
