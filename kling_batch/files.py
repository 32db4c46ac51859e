"""Files put in place whole: synced, atomic, and never over what is not ours."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from hashlib import _Hash as Hash

PRIVATE = 0o600
BUFFER = 8 * 1024  # as usual; said, since Python would ask otherwise whether it is a terminal


def sync_folder(folder: Path) -> None:
    """Make the folder's entries durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_whole(path: Path, data: bytes, mode: int = 0o644, *, sync_name: bool = True) -> None:
    """Replace the file by these bytes, durably; readers see the old or the new, never a part.

    Without `sync_name` its name is durable once the folder is synced, for which the caller sees.
    """
    with _written_part(path, data, mode) as part:
        part.replace(path)
    if sync_name:
        sync_folder(path.parent)


def write_new(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Make the file with these bytes, durably; raises FileExistsError where there is one."""
    with _written_part(path, data, mode) as part:
        place_new(part, path)


@contextmanager
def private_part(path: Path) -> Iterator[Path]:
    """An empty file beside it for what is to be put in its place whole; gone if it is not."""
    part = _part_of(path)
    try:
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR, PRIVATE))
        yield part
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def _written_part(path: Path, data: bytes, mode: int) -> Iterator[Path]:
    part = _part_of(path)
    try:
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(handle, "wb", BUFFER) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield part
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _part_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.urandom(4).hex()}.tmp")


def place_new(part: Path, path: Path) -> None:
    """Give the finished part its name, durably; raises FileExistsError where the name is taken."""
    try:
        os.link(part, path)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EXDEV):
            raise
        # No hard links here (FAT, some network shares): reserve the name, then move over it.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o644))
        part.replace(path)
    else:
        part.unlink()
    sync_folder(path.parent)


def is_below(path: Path, folder: Path) -> bool:
    """Whether the path lies in the folder once every link on the way is followed."""
    if _is_straight(path, folder):
        return True  # wherever the folder itself is: links above it need not be followed
    root = os.path.realpath(folder)
    return os.path.commonpath([root, os.path.realpath(path)]) == root


def _is_straight(path: Path, folder: Path) -> bool:
    """Whether the path goes down from the folder over no link and no `..`."""
    try:
        steps = path.relative_to(folder).parts
    except ValueError:
        return False
    way = os.fspath(folder)
    for step in steps:
        way = f"{way}/{step}"
        if step == ".." or os.path.islink(way):  # noqa: PTH114 -- a Path each takes thrice as long
            return False
    return True


def disk_failed(error: Exception) -> bool:
    """Whether the disk is full or does not answer: the file itself need not be at fault."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO)
    # SQLite's words; its numbers are told from Python 3.11 on only.
    return str(error) in ("database or disk is full", "disk I/O error")


def hash_of(file: BinaryIO) -> Hash:
    """SHA-256 of the file's bytes from its position to its end, to go on with."""
    import hashlib  # OpenSSL comes with it, and a look at a manifest has no use for that

    digest = hashlib.sha256()
    while chunk := file.read(1 << 20):
        digest.update(chunk)
    return digest


def sha256_of(path: Path) -> str:
    """The file's SHA-256 in hex."""
    with path.open("rb") as file:
        return hash_of(file).hexdigest()
