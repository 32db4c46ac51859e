"""One result from its URL to its place: part file, resume, checks, never over another's file."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Protocol

from kling_batch.execution.container import flaw
from kling_batch.execution.receipt import Provenance, read_receipt, receipt_of, write_receipt
from kling_batch.files import BUFFER, hash_of, is_below, place_new, sha256_of, write_whole
from kling_batch.model import QualityMode
from kling_batch.service.http import Fetched, RefusedUrl
from kling_batch.state.records import Record

SIZE_MAX = 4 * 1024**3


class Fetcher(Protocol):
    """Opens a URL: `service.http.MediaFetcher`, or a test's stand-in."""

    def open(self, url: str, headers: Mapping[str, str]) -> AbstractContextManager[Fetched]:
        """The answer as it comes; raises RefusedUrl or OSError."""


class Failure(Enum):
    """Why a result is not in its place, and so what to do."""

    EXPIRED = "expired"  # ask for a new URL
    TRANSIENT = "transient"  # try again later
    REFUSED = "refused"  # trying again can't help
    DISK = "disk"  # no room, or no permission
    STOPPED = "stopped"  # the run is ending; the part stays


@dataclass(frozen=True, slots=True)
class Got:
    """A video in its place: the path below the manifest's folder, its hash and bytes."""

    output: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class NotGot:
    """A download that did not come to its end."""

    failure: Failure
    reason: str


@dataclass(frozen=True, slots=True)
class _Whole:
    """A part file of full length: its hash and bytes, and whether a validator lies beside it."""

    sha256: str
    size: int
    validated: bool


@dataclass(frozen=True, slots=True)
class Target:
    """Where the results of a batch go, and what their receipts say of it.

    `left` are a folder's hidden files as its first result came: a run that was killed left them
    before this one began, and a look for each of 10,000 results would be quadratic.
    """

    directory: Path
    provenance: Provenance
    rates: Mapping[QualityMode, int]
    left: dict[Path, list[str]] = field(default_factory=dict, compare=False)


def download(
    record: Record,
    target: Target,
    fetcher: Fetcher,
    stopped: Callable[[], bool],
) -> Got | NotGot:
    """Fetch the record's result and put it in its place with its receipt."""
    try:
        got = _download(record, target, fetcher, stopped)
    except OSError as error:
        return NotGot(Failure.DISK, f"{error.strerror or error}: {error.filename or 'the disk'}")
    if isinstance(got, Got):
        _sweep(record, target, (target.directory / got.output).parent)
    return got


def _download(
    record: Record, target: Target, fetcher: Fetcher, stopped: Callable[[], bool]
) -> Got | NotGot:
    final = target.directory / record.output
    # A link in the way may lead out of the folder, whatever the manifest said when it was read.
    if not is_below(final.parent, target.directory):
        return NotGot(Failure.REFUSED, f"{final.parent} leads out of {target.directory}")
    if not final.parent.is_dir():
        final.parent.mkdir(parents=True, exist_ok=True)
    placed = _already_placed(record, final)
    if placed is not None:
        return placed
    part = final.with_name(f".{final.name}.{record.job_id}.part")
    fetched = _fetch(record.result_url or "", part, fetcher, stopped)
    if isinstance(fetched, NotGot):
        return fetched
    wrong = flaw(part)
    if wrong:
        _discard(part)
        return NotGot(Failure.EXPIRED, f"what came is not the video: {wrong}")
    return _place(record, target, part, final, fetched)


def _already_placed(record: Record, final: Path) -> Got | None:
    """The file of this very job, placed by a run that ended before it could say so."""
    receipt = read_receipt(final.with_name(f"{record.id}.json"))
    if not receipt or receipt.get("job_id") != record.job_id:
        return None
    for path in (final, _other_name(final, record)):
        if receipt.get("file") == path.name and path.exists():
            digest = sha256_of(path)
            if digest == receipt.get("sha256"):
                output = Path(record.output).with_name(path.name).as_posix()
                return Got(output, digest, path.stat().st_size)
    return None


# -- the bytes -----------------------------------------------------------------------------------


def _fetch(url: str, part: Path, fetcher: Fetcher, stopped: Callable[[], bool]) -> NotGot | _Whole:
    """Bring the part file to its full length."""
    have = part.stat().st_size if part.exists() else 0
    validator = _read_validator(part) if have else ""
    have = have if validator else 0  # of which bytes it is a part can't be told
    headers = {"range": f"bytes={have}-", "if-range": validator} if have else {}
    try:
        with fetcher.open(url, headers) as answer:
            problem = _problem_of(answer.status)
            if answer.status == 416:
                _discard(part)
            if problem is not None:
                return problem
            start = _start_of(answer, have, validator)
            if start is None:
                _discard(part)
                return NotGot(Failure.TRANSIENT, "the host sent another range than asked for")
            if validator and not start:  # of the bytes that are now overwritten
                _validator_path(part).unlink(missing_ok=True)
            return _receive(answer, part, start, stopped)
    except RefusedUrl as error:
        return NotGot(Failure.REFUSED, str(error))
    except ConnectionError as error:
        return NotGot(Failure.TRANSIENT, str(error))


def _problem_of(status: int) -> NotGot | None:
    if status in (200, 206):
        return None
    if status in (401, 403, 404, 410):
        return NotGot(Failure.EXPIRED, f"the result's URL answered {status}")
    return NotGot(Failure.TRANSIENT, f"the result's host answered {status}")


def _start_of(answer: Fetched, have: int, validator: str) -> int | None:
    """The offset at which the body begins: 0 for a whole one; None where it makes no sense."""
    if answer.status == 200:
        return 0
    if _validator_of(answer.headers) != validator:
        return None  # a part of other bytes, whatever If-Range asked for
    told = re.match(r"bytes (\d+)-\d+/(\d+|\*)\Z", answer.headers.get("content-range", ""))
    return have if told and int(told[1]) == have and have else None


def _receive(
    answer: Fetched, part: Path, start: int, stopped: Callable[[], bool]
) -> NotGot | _Whole:
    length = answer.headers.get("content-length", "")
    expected = start + int(length) if length.isascii() and length.isdigit() else None
    if expected is not None and expected > SIZE_MAX:
        return NotGot(Failure.REFUSED, f"the result claims {expected} bytes")
    size, validated = start, start > 0
    with part.open("r+b" if start else "wb", BUFFER) as file:
        digest = hash_of(file) if start else hashlib.sha256()  # of what is there already
        try:
            for chunk in answer.chunks:
                if not size and len(chunk) != expected:  # a rest is to come, or may be
                    _write_validator(part, answer.headers)
                    validated = True
                file.write(chunk)
                digest.update(chunk)
                size += len(chunk)
                if size > SIZE_MAX or (expected is not None and size > expected):
                    break
                if stopped():
                    return NotGot(Failure.STOPPED, "the run is ending")
        finally:
            file.flush()
            os.fsync(file.fileno())
    if size > SIZE_MAX or (expected is not None and size > expected):
        _discard(part)
        return NotGot(Failure.REFUSED, f"the result has no end within {expected or SIZE_MAX} bytes")
    if expected is not None and size < expected:
        return NotGot(Failure.TRANSIENT, f"{size} of {expected} bytes came")
    return _Whole(digest.hexdigest(), size, validated)


def _validator_path(part: Path) -> Path:
    return part.with_suffix(".validator")


def _read_validator(part: Path) -> str:
    try:
        return str(json.loads(_validator_path(part).read_bytes())["if_range"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _write_validator(part: Path, headers: Mapping[str, str]) -> None:
    """Keep what proves that a later range belongs to the same bytes: a strong ETag, or a date."""
    told = {"if_range": _validator_of(headers)}
    write_whole(_validator_path(part), json.dumps(told).encode())


def _validator_of(headers: Mapping[str, str]) -> str:
    etag = headers.get("etag", "")
    return etag if etag.startswith('"') else headers.get("last-modified", "")


def _discard(part: Path) -> None:
    _validator_path(part).unlink(missing_ok=True)  # first: it must not outlive its bytes
    part.unlink(missing_ok=True)


def _sweep(record: Record, target: Target, folder: Path) -> None:
    """Remove what runs that were killed left beside this result: parts, unfinished writes."""
    with suppress(OSError):  # the result is in its place, which is what counts
        if folder not in target.left:
            with os.scandir(folder) as entries:
                target.left[folder] = [one.name for one in entries if one.name.startswith(".")]
        for name in target.left[folder]:
            receipt = name.startswith(f".{record.id}.json.") and name.endswith(".tmp")
            if receipt or f".{record.job_id}." in name[1:]:
                (folder / name).unlink(missing_ok=True)


# -- the place -----------------------------------------------------------------------------------


def _place(record: Record, target: Target, part: Path, final: Path, whole: _Whole) -> Got:
    """Receipt first, then the name: a file under its name always has a receipt that knows it."""
    digest, size = whole.sha256, whole.size
    if final.exists() and not _move_aside(record, final):
        final = _other_name(final, record)
    rate = target.rates.get(record.request.quality_mode, 0)
    receipt = receipt_of(record, target.provenance, final.name, digest, size, rate)
    beside = final.with_name(f"{record.id}.json")
    if not write_receipt(beside, receipt):
        write_receipt(final.with_name(f"{record.id}.{_short(record)}.json"), receipt)
    place_new(part, final)
    if whole.validated:
        _validator_path(part).unlink(missing_ok=True)
    return Got(Path(record.output).with_name(final.name).as_posix(), digest, size)


def _move_aside(record: Record, final: Path) -> bool:
    """Give our own earlier video of this job another name; False where the file is another's."""
    receipt_path = final.with_name(f"{record.id}.json")
    receipt = read_receipt(receipt_path)
    if not receipt or receipt.get("file") != final.name or receipt.get("id") != record.id:
        return False
    if receipt.get("sha256") != sha256_of(final):
        return False
    old = hashlib.sha256(str(receipt.get("job_id")).encode()).hexdigest()[:8]
    aside = final.with_name(f"{final.stem}.before-{old}{final.suffix}")
    if aside.exists():
        return False
    place_new(final, aside)
    write_receipt(
        aside.with_name(f"{record.id}.before-{old}.json"), {**receipt, "file": aside.name}
    )
    return True


def _other_name(final: Path, record: Record) -> Path:
    return final.with_name(f"{final.stem}.{_short(record)}{final.suffix}")


def _short(record: Record) -> str:
    return (record.job_id or "")[:8]
