"""A lock between processes; the system frees it, however its holder ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from kling_batch.files import PRIVATE


class FileLock:
    """`flock` of a file made for it: held by this object until it lets go, or the process ends.

    What the file holds says nothing. It stays there, since another may wait for that very file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: int | None = None

    def take(self) -> bool:
        """Whether it is ours now; False while another holds it. Raises OSError."""
        if self._handle is None:
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT, PRIVATE)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BaseException as error:
                os.close(handle)
                if isinstance(error, BlockingIOError):
                    return False
                raise
            self._handle = handle
        return True

    def let_go(self) -> None:
        """Another may take it; nothing happens where it is not ours."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
