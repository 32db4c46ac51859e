"""The user's words on finished takes: which pairs get a new take, and what names no job."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from kling_batch.manifest.nearest import nearest
from kling_batch.manifest.problems import Finding, finding
from kling_batch.model import Job

REDO = "redo"
WORDS = ("pick", "reject", REDO)
_TAKE = re.compile(r"(.+)\.take([2-9]|[1-9][0-9]{1,2})\Z")


def stated_decisions(source: Path, text: bytes | None = None) -> dict[str, str]:
    """A manifest's decisions as they stand, for a look at its state: nothing else is checked.

    `text` is read in its place, where given. Empty where they can't be read: whoever loads the
    manifest says why.
    """
    try:
        data = source.read_bytes() if text is None else text
    except OSError:
        return {}
    if b"decisions" not in data:  # most manifests; the others are read in full
        return {}
    from kling_batch.manifest.document import Unreadable
    from kling_batch.manifest.reading import read

    try:
        value = read(data).value
    except Unreadable:
        return {}
    stated = value.get("decisions") if isinstance(value, dict) else None
    if not isinstance(stated, dict):
        return {}
    return {job_id: word for job_id, word in stated.items() if word in WORDS}


def take_id(pair: str, take: int) -> str:
    """The id of one of a pair's takes."""
    return pair if take == 1 else f"{pair}.take{take}"


def pair_and_take(job_id: str) -> tuple[str, int]:
    """What an id says by its form: ``hero.take3`` is take 3 of ``hero``, all else a first take."""
    found = _TAKE.match(job_id)
    return (found[1], int(found[2])) if found else (job_id, 1)


def marked(decisions: Mapping[str, str]) -> frozenset[str]:
    """The pairs that a redo may mean, before it is known which ids there are."""
    redone = [job_id for job_id, word in decisions.items() if word == REDO]
    return frozenset([*redone, *(pair_and_take(job_id)[0] for job_id in redone)])


def redo_takes(
    decisions: Mapping[str, str], own: Mapping[str, tuple[str, int]]
) -> dict[str, list[int]]:
    """The takes to be redone, by pair; ``own`` says which pair and take an id of a job is."""
    takes: dict[str, list[int]] = {}
    for job_id, word in decisions.items():
        if word == REDO:
            pair, take = own.get(job_id) or pair_and_take(job_id)
            takes.setdefault(pair, []).append(take)
    return takes


def new_takes(last: int, redone: Iterable[int]) -> Iterator[tuple[int, int]]:
    """The number of each new take, with that of the take it is made instead of.

    ``last`` is the pair's last ordinary take. A take above all known ones was added by an earlier
    redo whose decision has been changed since; its number is never given out again. To take
    one redo back gives no other a number that it did not have: what was bought stays bought.
    """
    for take in sorted(redone):
        last = max(last, take) + 1
        yield last, take


def unknown(decisions: Mapping[str, str], jobs: Iterable[Job]) -> Iterator[Finding]:
    """Decisions on what is neither a job nor a take that an earlier redo may have added."""
    pairs: dict[str, str] = {job.id: job.pair for job in jobs}
    names = set(pairs.values())
    for job_id in decisions:
        pair, take = pair_and_take(job_id)
        if job_id in pairs or (take > 1 and pair in names):
            continue
        near = nearest(job_id, pairs)
        hint = f"did you mean `{near}`?" if near else "see the ids with `kling-batch plan`"
        said = f"no job has the id `{job_id[:60]}`"
        yield finding(("decisions", job_id), said, hint=hint, on_key=True)
