"""Whether a file is a whole video: a look at its container, without decoding. Pure but for reading.

MP4 and MOV are boxes of (32-bit size, name), one after the other (ISO/IEC 14496-12, 4.2);
Matroska and WebM begin with the EBML mark (RFC 8794).
"""

from __future__ import annotations

import os
from pathlib import Path

_EBML = b"\x1a\x45\xdf\xa3"
_BOXES_MAX = 100_000
_HEAD = 16  # bytes that a box's size and name take at most
_TOP_LEVEL = frozenset(
    b"ftyp styp pdin moov moof mdat mfra sidx emsg meta free skip wide udta uuid".split()
)


def flaw(path: Path) -> str:
    """What keeps the file from being a whole video; empty when nothing does."""
    handle = os.open(path, os.O_RDONLY)
    try:
        size = os.fstat(handle).st_size
        head = os.pread(handle, _HEAD, 0)
        if not head:
            return "it is empty"
        if head.startswith(_EBML):
            return ""
        if head[4:8] not in _TOP_LEVEL:
            return _what_else(head)
        return _boxes_flaw(handle, size)
    finally:
        os.close(handle)


def _what_else(head: bytes) -> str:
    text = head.lstrip().lower()
    if text.startswith((b"<", b"{", b"[")):
        return "it is a page or a message, not a video"
    return "it is no video"


def _boxes_flaw(handle: int, size: int) -> str:
    """Walk the boxes: a cut file ends inside of one. What no longer reads as boxes proves nothing.

    That a file is short is told by its length first; this is for answers that gave none.
    """
    at = 0
    for _ in range(_BOXES_MAX):
        if at == size:
            break
        head = os.pread(handle, _HEAD, at)
        name = head[4:8]
        if len(head) >= 8 and name not in _TOP_LEVEL:
            break
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        elif length == 0:
            length = size - at  # this box runs to the end of the file
        if len(head) < 8 or length < 8 or at + length > size:
            return "it is cut short"
        at += length
    return ""
