"""What the state file holds and how it is written: each method that writes is one commit."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import attrgetter
from pathlib import Path
from typing import Any

from kling_batch.clock import Moment
from kling_batch.errors import ServiceStopped
from kling_batch.model import JobRequest
from kling_batch.state.records import JobState, Record
from kling_batch.structs import dataclass

SCHEMA_VERSION = 2
APPLICATION_ID = 0x4B4C4E47  # "KLNG"

_REQUEST = JobRequest.__slots__
_PLAIN = tuple(name for name in Record.__slots__ if name not in ("id", "request", "state"))
_COLUMNS = ("id", "state", *_PLAIN, *_REQUEST)
_STATES = {state.value: state for state in JobState}
# Records are made by position: 100,000 of them by name take twice as long.
_FIRST = ("id", "fingerprint", "state")
_OTHERS = Record.__slots__[4:]  # without id, fingerprint, request, state
_MADE_OF = frozenset({"fingerprint", "image", "video", "result_url"})
# What a plan goes by, in the order of Record's fields, which stand for what is left out.
_SPENT = ("output", "credits_planned", "job_id", "attempts", "credits_charged", "credits_refunded",
          "credits_spent", "error")  # fmt: skip
_ENDS = ("submitted_at", "finished_at", "extra_of")
_NO_INPUTS: tuple[Any, ...] = ("", 1, "", "")
_NO_RESULT: tuple[Any, ...] = (None, None, None)
_NO_REQUEST = JobRequest("", "", "", "video", "720p", 0)
_NOT_NULL = {"state", "fingerprint", "output", "credits_planned", "attempts", "credits_spent"}

# A record whose job of the service is the same as before: no index is touched, which is a third of
# what a commit would have to write.
_SAME_JOB = tuple(name for name in _COLUMNS if name not in ("id", "job_id"))
_UPDATE = f"UPDATE jobs SET {', '.join(f'{c} = ?' for c in _SAME_JOB)} WHERE id = ? AND job_id IS ?"  # noqa: S608
_UPSERT = (
    f"INSERT INTO jobs ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608
    f" ON CONFLICT (id) DO UPDATE SET {', '.join(f'{c} = excluded.{c}' for c in _COLUMNS[1:])}"
)
# One call for the whole row; `_value_`, since an enum's `value` is a call of its own.
_ATTRIBUTES = {"state": "state._value_", **{name: f"request.{name}" for name in _REQUEST}}
_row = attrgetter(*(_ATTRIBUTES.get(name, name) for name in _COLUMNS))
_row_of_same_job = attrgetter(
    *(_ATTRIBUTES.get(name, name) for name in (*_SAME_JOB, "id", "job_id"))
)
_INTEND = (
    "INSERT INTO attempts (id, job, fingerprint, sent_at, era, steady, balance_before, balance_at)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
_SETTLE = (
    "UPDATE attempts SET verdict = ?, answered_at = ?, http_status = ?, job_ids = ?, raw = ?,"
    " reason = ?, resolution = ? WHERE id = ?"
)
_RENAME = ("UPDATE jobs SET id = ? WHERE id = ?", "UPDATE attempts SET job = ? WHERE job = ?")
_RENAME_MAIN = "UPDATE jobs SET extra_of = ? WHERE extra_of = ?"
_DROP = "DELETE FROM jobs WHERE id = ? AND state = ? AND attempts = 0 AND job_id IS NULL"
_NOTE = "INSERT OR REPLACE INTO meta VALUES (?, ?)"
_TELL = "INSERT INTO events (at, job, name, detail) VALUES (?, ?, ?, ?)"

SCHEMA = f"""
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE jobs (id TEXT PRIMARY KEY, {
    ", ".join(f"{c} NOT NULL" if c in _NOT_NULL else c for c in _COLUMNS[1:])
});
CREATE UNIQUE INDEX jobs_job_id ON jobs (job_id) WHERE job_id IS NOT NULL;
CREATE TABLE attempts (
    id TEXT PRIMARY KEY, job TEXT NOT NULL, fingerprint TEXT NOT NULL, sent_at REAL NOT NULL,
    balance_before INTEGER, verdict TEXT, answered_at REAL, http_status INTEGER,
    job_ids TEXT, raw TEXT, reason TEXT, resolution TEXT, era TEXT, steady REAL, balance_at REAL
);
CREATE INDEX attempts_job ON attempts (job);
CREATE TABLE events (
    serial INTEGER PRIMARY KEY, at REAL NOT NULL, job TEXT, name TEXT NOT NULL,
    detail TEXT NOT NULL
);
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
"""
# What makes a state of version N one of version N + 1, by N.
UPGRADES = {
    1: """
    ALTER TABLE attempts ADD COLUMN era TEXT;
    ALTER TABLE attempts ADD COLUMN steady REAL;
    ALTER TABLE attempts ADD COLUMN balance_at REAL;
    """,
}


@dataclass(frozen=True, slots=True)
class Attempt:
    """One intent to buy, and what came of it. `verdict` None: no answer was recorded.

    `sent_at` is wall time; `era` and `steady` say the same by steady time, "" where only the
    wall is known. `balance_before` was seen at `balance_at`, by the wall.
    """

    id: str
    job: str
    fingerprint: str
    sent_at: float
    balance_before: int | None = None
    verdict: str | None = None
    answered_at: float | None = None
    http_status: int | None = None
    job_ids: tuple[str, ...] = ()
    raw: str = ""
    reason: str = ""
    resolution: str | None = None
    era: str = ""
    steady: float = 0.0
    balance_at: float | None = None

    @property
    def sent(self) -> Moment:
        """When it was sent."""
        return Moment(self.sent_at, self.era, self.steady)


_ATTEMPT = Attempt.__slots__


@dataclass(frozen=True, slots=True)
class Happening:
    """One line of the state's history."""

    at: float
    name: str
    job: str | None = None
    detail: Mapping[str, Any] | None = None


class Store:
    """An open state file; `state.opening` opens one."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self.connection = connection
        self.path = path
        self._gathering = False

    # -- reading ---------------------------------------------------------------------------

    def records(self) -> dict[str, Record]:
        """Every job's record by id, in the order in which the jobs were first approved."""
        n = len(_REQUEST)
        rows = self._rows([*_REQUEST, *_FIRST, *_OTHERS])
        return {
            row[n]: Record(
                row[n], row[n + 1], JobRequest(*row[:n]), _STATES[row[n + 2]], *row[n + 3 :]
            )
            for row in rows
        }

    def standing(self) -> list[Record]:
        """The records for a look at where jobs stand, read in half the time.

        What a job is made of is left out of them: request, fingerprint, inputs and link are empty.
        """
        told = [f"'' AS {c}" if c in _MADE_OF else c for c in (*_FIRST, *_OTHERS)]
        return [
            Record(row[0], row[1], _NO_REQUEST, _STATES[row[2]], *row[3:])
            for row in self._rows(told)
        ]

    def outlines(self, known: Mapping[str, JobRequest]) -> dict[str, Record]:
        """The records for a look at what is to be done, by id: inputs and result are left out.

        `known` are requests by their fingerprints. Those need not be read again, which is half
        of the reading where most jobs are as they were.
        """
        found = {}
        for row in self._rows((*_FIRST, *_SPENT, *_ENDS)):
            request = known.get(row[1])
            if request is None:  # of the same moment: the rows are still being read
                query = f"SELECT {', '.join(_REQUEST)} FROM jobs WHERE id = ?"  # noqa: S608
                request = JobRequest(*self.connection.execute(query, row[:1]).fetchone())
            found[row[0]] = Record(
                row[0], row[1], request, _STATES[row[2]], row[3], row[4], *_NO_INPUTS,
                *row[5:11], *_NO_RESULT, *row[11:],
            )  # fmt: skip
        return found

    def _rows(self, columns: Sequence[str]) -> Iterable[Sequence[Any]]:
        return self.connection.execute(f"SELECT {', '.join(columns)} FROM jobs ORDER BY rowid")  # noqa: S608

    def attempts(self) -> dict[str, Attempt]:
        """The latest attempt of every job, by the job's id."""
        rows = self.connection.execute("SELECT * FROM attempts ORDER BY rowid")
        return {row[1]: _attempt(row) for row in rows}

    def job_ids_before(self, attempt: str) -> frozenset[str]:
        """The jobs of the service that were bought before this attempt was made."""
        rows = self.connection.execute(
            "SELECT job_id FROM jobs JOIN (SELECT job, max(rowid) AS last FROM attempts"
            " GROUP BY job) ON job = coalesce(extra_of, jobs.id) WHERE job_id IS NOT NULL"
            " AND last < (SELECT rowid FROM attempts WHERE id = ?)",
            (attempt,),
        )
        return frozenset(row[0] for row in rows)

    def serial(self) -> int:
        """A number that grows with every change."""
        row = self.connection.execute("SELECT max(serial) FROM events").fetchone()
        return int(row[0] or 0)

    def meta(self, key: str) -> str | None:
        """A note kept beside the records."""
        row = self.connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    # -- writing: each method is one durable commit ----------------------------------------------

    def save(self, records: Iterable[Record], happenings: Iterable[Happening]) -> None:
        """Write these records and what happened, together."""
        self._write(records, happenings, later=self._gathering)

    def intend(self, record: Record, attempt: Attempt, happening: Happening) -> None:
        """The write-ahead of a submission: after it returns, the POST may go out once."""
        who = (attempt.id, attempt.job, attempt.fingerprint)
        balance = (attempt.balance_before, attempt.balance_at)
        self._write((record,), (happening,), [(_INTEND, (*who, *attempt.sent, *balance))])

    def settle(
        self, attempt: Attempt, records: Iterable[Record], happenings: Iterable[Happening]
    ) -> None:
        """The answer to a submission, with the records that it changes."""
        answer = (attempt.verdict, attempt.answered_at, attempt.http_status)
        ids = json.dumps(attempt.job_ids)
        came = (ids, attempt.raw, attempt.reason, attempt.resolution, attempt.id)
        self._write(records, happenings, [(_SETTLE, (*answer, *came))])

    def rename(self, pairs: Mapping[str, str], happenings: Iterable[Happening]) -> None:
        """Give records the ids that the manifest now uses, old to new."""
        rows = self.connection.execute("SELECT DISTINCT extra_of FROM jobs")
        mains = {row[0] for row in rows}  # few: to look for each one's extras would be quadratic
        changes = [(statement, (new, old)) for old, new in pairs.items() for statement in _RENAME]
        changes += [(_RENAME_MAIN, (new, old)) for old, new in pairs.items() if old in mains]
        self._write((), happenings, changes)

    def drop(self, ids: Iterable[str], happening: Happening) -> None:
        """Strike out records of jobs that were planned and never submitted; no others."""
        self._write((), (happening,), ((_DROP, (one, JobState.PLANNED.value)) for one in ids))

    def note(self, **values: str) -> None:
        """Keep notes beside the records."""
        self._write((), (), ((_NOTE, note) for note in values.items()))

    @contextmanager
    def together(self) -> Iterator[None]:
        """What `save` writes within is one commit, made at the end or by the next other method.

        A commit waits for the disk, whatever it holds: of sixteen answers that came at once, each
        by itself would take five times as long. Until it is left nobody may be told of them.
        """
        self._gathering = True
        try:
            yield
        finally:
            self._gathering = False
            if self.connection.in_transaction:
                self._write((), ())

    def _write(
        self,
        records: Iterable[Record],
        happenings: Iterable[Happening],
        changes: Iterable[tuple[str, Sequence[Any]]] = (),
        *,
        later: bool = False,
    ) -> None:
        """One transaction, committed before it returns; with `later`, by whoever commits next.

        All in one place, since after each wait for the disk every call is slow anew.
        """
        execute = self.connection.execute
        try:
            if not self.connection.in_transaction:
                execute("BEGIN IMMEDIATE")
            for statement, values in changes:
                execute(statement, values)
            for record in records:
                if not execute(_UPDATE, _row_of_same_job(record)).rowcount:
                    execute(_UPSERT, _row(record))
            for one in happenings:
                detail = json.dumps(dict(one.detail)) if one.detail else "{}"
                execute(_TELL, (one.at, one.job, one.name, detail))
            if not later:
                execute("COMMIT")
        except BaseException as error:
            with contextlib.suppress(sqlite3.Error):
                execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise StateNotWritten(self.path, error) from error
            raise


class StateNotWritten(ServiceStopped):
    """A commit failed: the disk is full, say. What it held is not recorded."""

    def __init__(self, path: Path, error: Exception) -> None:
        super().__init__(
            f"{path} can't be written: {error}",
            "make room on the disk, then run the same command again: what was recorded stands",
        )


def _attempt(row: Sequence[Any]) -> Attempt:
    told = dict(zip(_ATTEMPT, row, strict=True))
    told["job_ids"] = tuple(json.loads(told["job_ids"] or "[]"))
    return Attempt(**{name: value for name, value in told.items() if value is not None})
