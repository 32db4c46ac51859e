"""Opening a state file: whose it is, whether it is sound, and that one run alone writes it."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kling_batch.errors import KlingBatchError, StateHeld, StateUnusable
from kling_batch.files import disk_failed, private_part, sync_folder, write_whole
from kling_batch.lock import FileLock
from kling_batch.state.store import (
    APPLICATION_ID,
    SCHEMA,
    SCHEMA_VERSION,
    UPGRADES,
    StateNotWritten,
    Store,
)
from kling_batch.structs import dataclass

_MAGIC = b"SQLite format 3\x00"


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose state a file is: the manifest's name, and its file's name beside the state."""

    name: str
    manifest: str


def state_path(directory: Path, name: str, *, simulated: bool = False) -> Path:
    """Where the state of a manifest of this name lies."""
    return directory / ".kling-batch" / f"{name}{'.simulated' if simulated else ''}.db"


@contextmanager
def reading(path: Path) -> Iterator[Store | None]:
    """The state for reading, or None where there is none yet; never blocks a run."""
    if not path.exists():
        yield None
        return
    store = _open(path, "ro")
    try:
        yield store
    except sqlite3.DatabaseError as error:  # a page that the opening did not look at
        raise _damaged(path, str(error)) from error
    finally:
        store.connection.close()


@contextmanager
def writing(path: Path, identity: Identity, now: float) -> Iterator[Store]:
    """The state for one run, made where there is none; raises StateHeld or StateUnusable."""
    with _locked(path):
        if not path.exists():
            _create(path, identity)
        _check_writable(path)
        store = _open(path, "rw")
        try:
            _check_identity(store, identity)
            _upgrade(store)
            store.note(
                holder=json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": now})
            )
            yield store
        finally:
            store.connection.close()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    _make_folder(path.parent)
    lock = FileLock(path.with_suffix(".lock"))
    try:
        taken = lock.take()
    except OSError as error:
        raise _unwritable(path.parent, error) from error
    if not taken:
        raise StateHeld(
            f"another run holds {path}{_holder(path)}",
            "wait for it to end, or look at it with: kling-batch status",
        )
    try:
        yield
    finally:
        lock.let_go()


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        ignore = folder / ".gitignore"
        if not ignore.exists():
            write_whole(ignore, b"# the state belongs to this machine\n*\n")
    except OSError as error:
        raise _unwritable(folder, error) from error


def _unwritable(folder: Path, error: OSError) -> KlingBatchError:
    if disk_failed(error):
        return StateNotWritten(folder, error)
    return StateUnusable(
        f"{folder} can't be written: {error.strerror}", "check the folder's permissions"
    )


def _holder(path: Path) -> str:
    from datetime import datetime

    try:
        with reading(path) as store:
            told = json.loads((store and store.meta("holder")) or "")
        since = datetime.fromtimestamp(told["since"]).strftime("%H:%M:%S")
        return f": process {told['pid']} on {told['host']}, since {since}"
    except (KlingBatchError, ValueError, KeyError, TypeError):
        return ""


def _create(path: Path, identity: Identity) -> None:
    """Made under another name and then moved, so that a state is whole or not there at all."""
    try:
        with private_part(path) as part:
            db = sqlite3.connect(part, isolation_level=None)
            try:
                db.executescript(f"PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; {SCHEMA}")
                db.executemany(
                    "INSERT INTO meta VALUES (?, ?)",
                    [("name", identity.name), ("manifest", identity.manifest)],
                )
            finally:
                db.close()
            part.replace(path)
            sync_folder(path.parent)
    except (sqlite3.Error, OSError) as error:
        raise StateNotWritten(path, error) from error


def _open(path: Path, mode: str) -> Store:
    """The connection, after looking at what the file is."""
    try:
        with path.open("rb") as file:
            head = file.read(len(_MAGIC))
    except OSError as error:
        raise StateUnusable(
            f"{path} can't be read: {error.strerror}", "check the file's permissions"
        ) from error
    if head != _MAGIC:
        raise _damaged(path, "it is empty" if not head else "it is no state file")
    try:
        db = sqlite3.connect(
            f"{path.resolve().as_uri()}?mode={mode}",
            uri=True,
            isolation_level=None,
            timeout=30,
            check_same_thread=False,
        )
        db.execute("PRAGMA synchronous = FULL")
        ours = db.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if mode == "rw":
            sound = db.execute("PRAGMA quick_check(1)").fetchone()[0]
            if sound != "ok":
                raise _damaged(path, str(sound).splitlines()[0])
    except sqlite3.Error as error:
        if disk_failed(error):  # to call it damaged would have it thrown away
            raise StateNotWritten(path, error) from error
        raise _damaged(path, str(error)) from error
    if not ours:
        raise _damaged(path, "it is another program's database")
    if version < 1:
        raise _damaged(path, "it does not tell its version")
    if version > SCHEMA_VERSION:
        raise StateUnusable(
            f"{path} was written by a newer kling-batch (state version {version},"
            f" this one reads {SCHEMA_VERSION})",
            "upgrade with: pip install --upgrade kling-batch",
        )
    return Store(db, path)


def _upgrade(store: Store) -> None:
    """Bring a state that an earlier version wrote to this one's shape, a version a commit."""
    db = store.connection
    try:
        version = int(db.execute("PRAGMA user_version").fetchone()[0])
        for older in range(version, SCHEMA_VERSION):
            db.executescript(
                f"BEGIN IMMEDIATE; {UPGRADES[older]} PRAGMA user_version = {older + 1}; COMMIT;"
            )
    except sqlite3.Error as error:
        raise StateNotWritten(store.path, error) from error


def _damaged(path: Path, why: str) -> StateUnusable:
    return StateUnusable(
        f"{path} is damaged: {why}",
        "nothing was sent; put a copy of it back, or move it away to start anew"
        " (jobs that it knew would be bought again)",
    )


def _check_writable(path: Path) -> None:
    # The mode is looked at too: the superuser may write what its owner made read-only.
    if not os.access(path, os.W_OK) or not path.stat().st_mode & 0o200:
        raise StateUnusable(f"{path} is read-only", f"allow writing: chmod u+w {path}")


def _check_identity(store: Store, identity: Identity) -> None:
    """Raise StateUnusable where it is another manifest's; follow a manifest that was renamed."""
    check_owner(store, identity)
    if store.meta("manifest") != identity.manifest:
        store.note(manifest=identity.manifest)


def check_owner(store: Store, identity: Identity) -> None:
    """Raise StateUnusable unless it is this manifest's, or that of one that is gone."""
    name, manifest = store.meta("name"), store.meta("manifest")
    gone = manifest and not (store.path.parent.parent / manifest).exists()
    if name == identity.name and (manifest == identity.manifest or gone):
        return
    raise StateUnusable(
        f"{store.path} is the state of {manifest} ({name}), not of {identity.manifest}",
        "give this manifest a `name:` of its own",
    )
