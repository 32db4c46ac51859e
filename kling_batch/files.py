"""Files put in place whole: synced, atomic, and never over what is not ours."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from pathlib import Path

PRIVATE = 0o600


def sync_folder(folder: Path) -> None:
    """Make the folder's entries durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_whole(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Replace the file by these bytes, durably; readers see the old or the new, never a part."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


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


def sha256_of(path: Path) -> str:
    """The file's SHA-256 in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
