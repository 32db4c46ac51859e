"""The account's ledger: when it submitted, what balance was last seen, which jobs have an owner.

One small SQLite file an account, shared by every manifest, process and restart of this user,
so that the service's 24 submissions an hour hold over all of them.
"""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kling_batch.clock import Clock, Moment, age, moment
from kling_batch.errors import KlingBatchError, ServiceStopped, StateUnusable
from kling_batch.files import PRIVATE, disk_failed, place_new, private_part, write_new
from kling_batch.lock import FileLock
from kling_batch.structs import dataclass

HOUR = 3600.0
# The service counts by its own clock and sees a POST later than it was sent.
MARGIN = 2.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS submissions (wall REAL, era TEXT, steady REAL);
CREATE INDEX IF NOT EXISTS submissions_by_time ON submissions (era, steady);
CREATE TABLE IF NOT EXISTS blocks (wall REAL, era TEXT, steady REAL);
CREATE TABLE IF NOT EXISTS balance (credits INTEGER NOT NULL, seen_at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS owned (job_id TEXT PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS plans (digest TEXT PRIMARY KEY) WITHOUT ROWID;
"""
_SYNC_FULL, _SYNC_LATER = "PRAGMA synchronous = FULL", "PRAGMA synchronous = NORMAL"
_SEEN = "INSERT OR REPLACE INTO balance (rowid, credits, seen_at) VALUES (1, ?, ?)"
# Whether there is a block, or a submission that is old or of another era; and how many there are at
# most. What most submissions ask, told without counting: a simulator's may be thousands.
_GLANCE = """
SELECT EXISTS (SELECT 1 FROM blocks)
    OR EXISTS (SELECT 1 FROM submissions WHERE era = ? AND steady <= ?)
    OR EXISTS (SELECT 1 FROM submissions WHERE era < ?)
    OR EXISTS (SELECT 1 FROM submissions WHERE era > ?),
  coalesce((SELECT max(rowid) FROM submissions) - (SELECT min(rowid) FROM submissions) + 1, 0)
"""


@dataclass(frozen=True, slots=True)
class Balance:
    """Credits of the account, and when they were seen (seconds since the epoch)."""

    credits: int
    seen_at: float


def account_file(folder: Path, base_url: str, key: str) -> Path:
    """Where this account's ledger lies: a salted hash of the key at that service names it."""
    try:
        salt = _salt(folder)
    except OSError as error:
        raise _unusable(folder, error) from error
    digest = hashlib.blake2b(f"{base_url}\n{key}".encode(), key=salt[:64], digest_size=12)
    return folder / f"{digest.hexdigest()}.db"


def _salt(folder: Path) -> bytes:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / "salt"
    if not path.exists():
        with suppress(FileExistsError):  # another first run was quicker: its salt is the one
            write_new(path, secrets.token_bytes(32), PRIVATE)
    return path.read_bytes()


class LedgerNotWritten(ServiceStopped):
    """The account's ledger could not be written: the disk is full, say."""


def _unusable(path: Path, error: Exception) -> KlingBatchError:
    if disk_failed(error):
        return LedgerNotWritten(
            f"the account's ledger {path} can't be written: {error}",
            "make room on the disk, then run the same command again: what was recorded stands",
        )
    return StateUnusable(
        f"the account's ledger {path} can't be used: {error}",
        "check its permissions; moved away, it is begun anew (the hourly limit with it)",
    )


def _make(path: Path) -> None:
    """Made under another name: of two first runs, one would find the other's half made."""
    with private_part(path) as part:
        _opened(part).close()
        with suppress(FileExistsError):  # the other was quicker: its ledger is the one
            place_new(part, path)


def _opened(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, timeout=30)
    db.executescript(f"PRAGMA journal_mode = WAL; {_SYNC_FULL}; {_SCHEMA}")
    return db


class Ledger:
    """One account's ledger. Times are judged by steady time within an era, else by wall time."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path = path
        self._clock = clock
        self._turn = FileLock(path.with_name(f"{path.name}.lock"))
        try:
            if not path.exists():
                _make(path)
            self._db = _opened(path)
        except (OSError, sqlite3.Error) as error:
            raise _unusable(path, error) from error

    def close(self) -> None:
        """Leave no side files behind, and the turn to others."""
        self.end_turn()
        self._db.close()

    # -- the hourly limit ----------------------------------------------------------------------

    def take_slot(self, per_hour: int) -> float:
        """0 when a submission is taken down and may go; else the seconds to wait.

        A slot that was taken is never given back: whether the service counted the
        POST can't be known. It is synced with the answer, by `own`: what a loss of power
        before that costs is a 429.
        """
        with self._exclusive(synced=False):
            wait = self._wait(per_hour)
            if wait <= 0:
                self._db.execute("INSERT INTO submissions VALUES (?, ?, ?)", moment(self._clock))
                return 0.0
            return wait

    def ages(self) -> list[float]:
        """Seconds since each submission of the last hour, the oldest first."""
        return sorted(self._ages("submissions"), reverse=True)

    def blocked_for(self) -> float:
        """Seconds until the service's own word (a 429) allows the next submission."""
        # A block is kept with the time of its end, so that its age is negative until then.
        return max((-age for age in self._ages("blocks")), default=0.0)

    def refused(self, retry_after: float | None, per_hour: int) -> float:
        """Learn from a 429, whose slot others must have used up; returns the seconds to wait."""
        with self._exclusive():
            wait = retry_after
            if wait is None:
                ages = self._ages("submissions")[:-1]  # without the one that was refused just now
                wait = HOUR - max(ages) if ages else HOUR / max(per_hour, 1)
            wait = min(max(wait, 1.0), HOUR)
            wall, era, steady = moment(self._clock)
            self._db.execute("DELETE FROM blocks")
            self._db.execute(
                "INSERT INTO blocks VALUES (?, ?, ?)", (wall + wait, era, steady + wait)
            )
            return wait

    def _wait(self, per_hour: int) -> float:
        _, era, steady = moment(self._clock)
        glance = (era, steady - HOUR - MARGIN, era, era)
        unlike, at_most = self._db.execute(_GLANCE, glance).fetchone()
        if not unlike and at_most < per_hour:
            return 0.0
        self._forget_block()
        self._forget_old()
        wait = self.blocked_for()
        count = int(self._db.execute("SELECT count(*) FROM submissions").fetchone()[0])
        if count >= per_hour:
            nth = self._db.execute(
                "SELECT wall, era, steady FROM submissions ORDER BY rowid LIMIT 1 OFFSET ?",
                (count - per_hour,),
            ).fetchone()
            wait = max(wait, HOUR + MARGIN - self._age(nth))
        return wait

    def _forget_old(self) -> None:
        """Drop what no longer counts, and re-date what lies in the future: a clock was set back."""
        wall, era, steady = moment(self._clock)
        old = HOUR + MARGIN
        # Each by the index: with the simulator's limit there may be thousands.
        self._db.execute(
            "DELETE FROM submissions WHERE era = ? AND steady <= ?", (era, steady - old)
        )
        for other in ("era < ?", "era > ?"):
            self._db.execute(
                f"DELETE FROM submissions WHERE {other} AND wall <= ?",  # noqa: S608
                (era, wall - old),
            )
            self._db.execute(
                f"UPDATE submissions SET wall = ?, era = ?, steady = ?"  # noqa: S608
                f" WHERE {other} AND wall > ?",
                (wall, era, steady, era, wall),
            )

    def _forget_block(self) -> None:
        blocks = list(self._db.execute("SELECT wall, era, steady FROM blocks"))
        if any(not -HOUR <= self._age(row) <= 0 for row in blocks):
            self._db.execute("DELETE FROM blocks")

    def _ages(self, table: str) -> list[float]:
        rows = self._db.execute(f"SELECT wall, era, steady FROM {table} ORDER BY rowid")  # noqa: S608
        return [age for row in rows if (age := self._age(row)) < HOUR + MARGIN]

    def _age(self, row: tuple[float, str, float]) -> float:
        return age(Moment(*row), self._clock)

    # -- one submission after another ----------------------------------------------------------

    def begin_turn(self) -> bool:
        """Whether this process may submit now; False while another one is submitting."""
        try:
            return self._turn.take()
        except OSError as error:
            raise _unusable(self.path, error) from error

    def end_turn(self) -> None:
        """The submission's answer is on record: another process may go."""
        self._turn.let_go()

    # -- balance and ownership -----------------------------------------------------------------

    def balance(self) -> Balance | None:
        """The balance last seen, or None when none was."""
        row = self._db.execute("SELECT credits, seen_at FROM balance").fetchone()
        return None if row is None else Balance(int(row[0]), float(row[1]))

    def own(self, job_ids: Iterable[str], state: Path, balance: int | None = None) -> None:
        """Note whose jobs these are, so that no other manifest adopts them.

        `balance` is what the service told with them, if it did: one commit for both.
        """
        with self._exclusive():
            self._db.executemany(
                "INSERT OR IGNORE INTO owned VALUES (?, ?)",
                [(one, str(state)) for one in job_ids],
            )
            if balance is not None:
                now = self._clock.now()
                self._db.execute(_SEEN, (balance, now))

    def owned(self, job_ids: Iterable[str]) -> set[str]:
        """Those of these jobs that have an owner."""
        query = "SELECT 1 FROM owned WHERE job_id = ?"
        return {one for one in job_ids if self._db.execute(query, (one,)).fetchone()}

    def owners(self) -> dict[str, str]:
        """Every job id with an owner, and the state file that has it."""
        return dict(self._db.execute("SELECT job_id, state FROM owned"))

    def has_run_plan(self, digest: str) -> bool:
        """Whether this account was spent from by the saved plan of this digest."""
        query = "SELECT 1 FROM plans WHERE digest = ?"
        return self._db.execute(query, (digest,)).fetchone() is not None

    def runs_plan(self, digest: str) -> None:
        """Note that a saved plan is run; kept here, since a state may be moved away."""
        with self._exclusive():
            self._db.execute("INSERT OR IGNORE INTO plans VALUES (?)", (digest,))

    @contextmanager
    def _exclusive(self, *, synced: bool = True) -> Iterator[None]:
        """One commit; without `synced` it outlives the process, and the machine with the next."""
        try:
            self._db.execute(_SYNC_FULL if synced else _SYNC_LATER)
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except BaseException as error:
            with suppress(sqlite3.Error):  # SQLite may have done it already
                self._db.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise _unusable(self.path, error) from error
            raise
