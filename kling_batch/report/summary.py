"""What the page shows: records of the state, gathered into pairs and totals. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import tzinfo
from decimal import Decimal
from functools import cache, partial

from kling_batch.report.text import (
    address,
    iso,
    link,
    local_time,
    moment,
    short_address,
    shown,
    span,
)
from kling_batch.state.records import IN_FLIGHT, JobState, Record
from kling_batch.structs import dataclass, field, replace

S = JobState
UNDER_WAY = IN_FLIGHT | {S.PLANNED, S.COMPLETED}
TROUBLED = frozenset({S.FAILED, S.REJECTED, S.MISSING})
DECISIONS = ("pick", "reject", "redo")

_WORDS = {
    S.PLANNED: "planned",
    S.UNKNOWN: "unknown",
    S.SUBMITTED: "submitted",
    S.PROCESSING: "processing",
    S.COMPLETED: "ready to fetch",
    S.DOWNLOADED: "done",
    S.FAILED: "failed",
    S.REJECTED: "refused",
    S.MISSING: "missing",
}
_NOTES = {
    S.PLANNED: "not submitted yet",
    S.UNKNOWN: "no answer came; resolve decides it",
    S.SUBMITTED: "in the service's queue",
    S.PROCESSING: "being made",
    S.COMPLETED: "made, not downloaded yet",
    S.DOWNLOADED: "the file is gone; the next run fetches it at no cost",
    S.FAILED: "no video was made",
    S.REJECTED: "refused by the service",
    S.MISSING: "the service no longer knows it",
}
_ORIENTATIONS = {"video": "follows the clip", "image": "follows the picture"}


@dataclass(frozen=True, slots=True)
class Facts:
    """What the page says of the batch as a whole; `zone` None is this machine's.

    `copies` are inputs that lie beside the page: their way from it, by their URL.
    """

    name: str
    manifest: str
    written_at: float
    simulated: bool = False
    key: str = ""
    usd_per_credit: Decimal | None = None
    zone: tzinfo | None = None
    copies: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Found:
    """A job's files that are there, as paths relative to the page; empty where there is none."""

    video: str = ""
    receipt: str = ""


@dataclass(frozen=True, slots=True)
class Input:
    """A character image or a motion clip: `url` is empty where it is no web address.

    `shown` is what the page shows of it: a copy beside the page, or the address itself.
    """

    kind: str
    name: str
    url: str
    label: str
    shown: str


@dataclass(frozen=True, slots=True)
class Moment:
    """A time for people and for programs."""

    text: str
    iso: str


@dataclass(frozen=True, slots=True)
class Take:
    """One job. Texts are harmless to show; `id` is as the manifest spells it."""

    id: str
    name: str
    take: int
    state: str
    word: str
    note: str
    error: str
    video: str
    receipt: str
    sha256: str
    job_id: str
    attempts: int
    planned: int
    charged: int | None
    refunded: int | None
    cost: int
    submitted: Moment | None
    finished: Moment | None
    took: str
    prompt: str
    settings: str
    decision: str
    words: tuple[str, ...]
    submitted_at: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Row:
    """One pair with its takes: `prompt` and `settings` are empty where its takes differ in them."""

    name: str
    image: Input
    video: Input
    prompt: str
    settings: str
    takes: tuple[Take, ...]
    cost: int
    submitted_at: float
    seconds: float


@dataclass(frozen=True, slots=True)
class StateTotal:
    """The jobs of one state and the credits that they stand for."""

    state: str
    word: str
    jobs: int
    credits: int


@dataclass(frozen=True, slots=True)
class Totals:
    """The batch in figures. Credits are whole; `spent` counts earlier attempts and refunds."""

    jobs: int
    done: int
    planned: int
    charged: int
    refunded: int
    spent: int
    usd: str
    by_state: tuple[StateTotal, ...]
    took: str


@dataclass(frozen=True, slots=True)
class Report:
    """All that the page shows."""

    facts: Facts
    written: Moment
    rows: tuple[Row, ...]
    totals: Totals
    spending: tuple[tuple[float, int], ...]  # when, and the credits spent from then on
    decisions: Mapping[str, str]
    to_go: int


def summarize(
    records: Iterable[Record],
    facts: Facts,
    found: Mapping[str, Found],
    decisions: Mapping[str, str] | None = None,
) -> Report:
    """The view of these records; `found` and `decisions` go by job id."""
    kept = list(records)
    decided = {job: word for job, word in (decisions or {}).items() if word in DECISIONS}
    inputs = cache(partial(_input, facts.copies))  # many pairs share theirs
    pairs: dict[tuple[str, str, str], list[Record]] = {}
    for record in kept:
        request = record.request
        pairs.setdefault((_pair(record), request.image_url, request.video_url), []).append(record)
    return Report(
        facts=replace(facts, name=shown(facts.name), manifest=shown(facts.manifest)),
        written=_moment(facts.written_at, facts),
        rows=tuple(
            _row(pair, takes, inputs, facts, found, decided) for (pair, *_), takes in pairs.items()
        ),
        totals=_totals(kept, facts),
        spending=_spending(kept),
        decisions=decided,
        to_go=sum(record.state in UNDER_WAY for record in kept),
    )


def _pair(record: Record) -> str:
    return record.pair or record.extra_of or record.id


def _row(
    pair: str,
    records: list[Record],
    inputs: Callable[[str, str, str], Input],
    facts: Facts,
    found: Mapping[str, Found],
    decisions: Mapping[str, str],
) -> Row:
    first = records[0]
    prompts = {record.request.prompt for record in records}
    settings = {_settings(record) for record in records}
    alike, same = len(prompts) == 1, len(settings) == 1
    ordered = sorted(records, key=lambda record: record.take)
    return Row(
        name=shown(pair),
        image=inputs("image", first.image, first.request.image_url),
        video=inputs("motion", first.video, first.request.video_url),
        prompt=shown(first.request.prompt) if alike else "",
        settings=_settings(first) if same else "",
        takes=tuple(
            _take(one, facts, found.get(one.id, Found()), decisions.get(one.id, ""), alike, same)
            for one in ordered
        ),
        cost=sum(record.committed for record in records),
        submitted_at=max((record.submitted_at or 0.0 for record in records), default=0.0),
        seconds=max(_seconds(record) for record in records),
    )


def _input(copies: Mapping[str, str], kind: str, name: str, url: str) -> Input:
    label = short_address(url)
    named = shown(name) if name and name != url else label.rpartition("/")[2]
    there = copies.get(url)
    return Input(kind, named, address(url), label, link(there) if there else address(url))


def _settings(record: Record) -> str:
    request = record.request
    follows = _ORIENTATIONS.get(request.character_orientation, request.character_orientation)
    return shown(f"{request.quality_mode} · {request.duration_seconds} s · {follows}")


def _take(
    record: Record, facts: Facts, found: Found, decision: str, alike: bool, same: bool
) -> Take:
    downloaded = record.state is S.DOWNLOADED
    return Take(
        id=record.id,
        name=shown(record.id),
        take=record.take,
        state=record.state.value,
        word=_WORDS[record.state],
        note=_NOTES[record.state],
        error=shown(record.error or ""),
        video=link(found.video) if downloaded else "",
        receipt=link(found.receipt) if downloaded else "",
        sha256=shown(record.sha256 or ""),
        job_id=shown(record.job_id or ""),
        attempts=record.attempts,
        planned=record.credits_planned,
        charged=record.credits_charged,
        refunded=record.credits_refunded,
        cost=record.committed,
        submitted=_moment(record.submitted_at, facts) if record.submitted_at else None,
        finished=_moment(record.finished_at, facts) if record.finished_at else None,
        took=span(_seconds(record)) if record.submitted_at and record.finished_at else "",
        prompt="" if alike else shown(record.request.prompt),
        settings="" if same else _settings(record),
        decision=decision,
        words=_words(record.state),
        submitted_at=record.submitted_at or 0.0,
        seconds=_seconds(record),
    )


def _words(state: JobState) -> tuple[str, ...]:
    """What can be decided on a job in this state: there is nothing to pick before a video."""
    if state is S.DOWNLOADED:
        return DECISIONS
    return ("redo",) if state in TROUBLED else ()


def _seconds(record: Record) -> float:
    if not record.submitted_at or not record.finished_at:
        return 0.0
    return max(record.finished_at - record.submitted_at, 0.0)


def _moment(seconds: float, facts: Facts) -> Moment:
    then = local_time(seconds, facts.zone)
    return Moment(moment(then), iso(then))


def _totals(records: list[Record], facts: Facts) -> Totals:
    jobs = Counter(record.state for record in records)
    credits: Counter[JobState] = Counter()
    for record in records:
        planned = record.state is S.PLANNED
        credits[record.state] += record.credits_planned if planned else record.committed
    spent = sum(record.committed for record in records)
    usd = "" if facts.usd_per_credit is None else f"{facts.usd_per_credit * spent:,.2f}"
    sent = [record.submitted_at for record in records if record.submitted_at]
    ended = [record.finished_at for record in records if record.finished_at]
    return Totals(
        jobs=len(records),
        done=jobs[S.DOWNLOADED],
        planned=sum(record.credits_planned for record in records),
        charged=sum(record.credits_charged or 0 for record in records),
        refunded=sum(record.credits_refunded or 0 for record in records),
        spent=spent,
        usd=usd,
        by_state=tuple(
            StateTotal(state.value, _WORDS[state], jobs[state], credits[state])
            for state in JobState
            if jobs[state]
        ),
        took=span(max(ended) - min(sent)) if sent and ended else "",
    )


def _spending(records: list[Record]) -> tuple[tuple[float, int], ...]:
    """The credits spent as they grow with submissions and shrink with refunds."""
    changes: list[tuple[float, int]] = []
    for record in records:
        if record.submitted_at is None:
            continue
        back = record.credits_refunded or 0
        changes.append((record.submitted_at, record.committed + back))
        if back:
            changes.append((record.finished_at or record.submitted_at, -back))
    total, steps = 0, []
    for at, change in sorted(changes):
        total += change
        steps.append((at, total))
    return tuple(steps)
