"""Small real files: playable MP4 videos of any length and PNG pictures, drawn from a seed."""

from __future__ import annotations

import re
import struct
import zlib
from functools import lru_cache

from kling_batch.simulator import figure, h264

PICTURES_PER_SECOND = 6
# In units of the time scale a second: any whole number of pictures a second divides it well.
TIME_SCALE = 600
WIDTH, HEIGHT = figure.COLUMNS * h264.CELL, 360
PNG_WIDTH, PNG_HEIGHT = 360, 480
_CLIP_SECONDS = re.compile(r"(\d{1,2})s\.mp4$")
_IDENTITY = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)


@lru_cache(maxsize=64)
def mp4(seconds: int, seed: int | str = 0) -> bytes:
    """A video of exactly so many seconds (at least 1), 640 by 360, looking as the seed says."""
    if seconds < 1:
        raise ValueError("a video has at least one second")
    key, loop = _dance(seed)
    count = seconds * PICTURES_PER_SECOND
    samples = [key, *(loop[n % len(loop)] for n in range(count - 1))]
    return _file([struct.pack(">I", len(sample)) + sample for sample in samples])


def clip(name: str) -> bytes:
    """The motion clip of this name; ``walk-15s.mp4`` has 15 seconds, others have 10."""
    stated = _CLIP_SECONDS.search(name)
    return mp4(max(1, int(stated[1])) if stated else 10, name)


@lru_cache(maxsize=64)
def png(name: str) -> bytes:
    """A portrait drawn from the name, 360 by 480."""
    look = figure.Look.of(name)
    rows = figure.portrait(look, PNG_WIDTH, PNG_HEIGHT)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows), 6)
    header = struct.pack(">IIBBBBB", PNG_WIDTH, PNG_HEIGHT, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@lru_cache(maxsize=64)
def _dance(seed: int | str) -> tuple[bytes, tuple[bytes, ...]]:
    """The first picture, and the changes that lead once through the dance and back to it."""
    look = figure.Look.of(seed)
    grids = [figure.dancer(look, step / h264.LOOP) for step in range(h264.LOOP)]
    changes = tuple(
        h264.next_picture(grids[step - 1], grids[step % h264.LOOP], step)
        for step in range(1, h264.LOOP + 1)
    )
    return h264.key_picture(grids[0]), changes


def _file(samples: list[bytes]) -> bytes:
    """The boxes of ISO/IEC 14496-12, the index before the data so that players start at once."""
    kind = _box(b"ftyp", b"isom", struct.pack(">I", 512), b"isomiso2avc1mp41")
    # The index tells where the data starts, and its size does not depend on what it tells.
    start = len(kind) + len(_index(samples, 0)) + 8
    return kind + _index(samples, start) + _box(b"mdat", *samples)


def _index(samples: list[bytes], data_start: int) -> bytes:
    duration = len(samples) * (TIME_SCALE // PICTURES_PER_SECOND)
    movie = _full(
        b"mvhd",
        struct.pack(">4I", 0, 0, TIME_SCALE, duration),
        struct.pack(">IH10x", 0x10000, 0x100),
        _IDENTITY,
        struct.pack(">24xI", 2),
    )
    track = _full(
        b"tkhd",
        struct.pack(">5I", 0, 0, 1, 0, duration),
        struct.pack(">8x4H", 0, 0, 0, 0),
        _IDENTITY,
        struct.pack(">2I", WIDTH << 16, HEIGHT << 16),
        flags=3,
    )
    media = _full(b"mdhd", struct.pack(">4IHH", 0, 0, TIME_SCALE, duration, 0x55C4, 0))
    handler = _full(b"hdlr", struct.pack(">I4s12x", 0, b"vide"), b"dancer\0")
    reference = _box(b"dinf", _full(b"dref", struct.pack(">I", 1), _full(b"url ", flags=1)))
    header = _full(b"vmhd", bytes(8), flags=1)
    information = _box(b"minf", header, reference, _sample_table(samples, data_start))
    return _box(b"moov", movie, _box(b"trak", track, _box(b"mdia", media, handler, information)))


def _sample_table(samples: list[bytes], data_start: int) -> bytes:
    """All samples lie in one chunk, last as long as each other, and the first is the key one."""
    count = len(samples)
    sizes = struct.pack(f">{count}I", *(len(sample) for sample in samples))
    return _box(
        b"stbl",
        _full(b"stsd", struct.pack(">I", 1), _sample_entry()),
        _full(b"stts", struct.pack(">3I", 1, count, TIME_SCALE // PICTURES_PER_SECOND)),
        _full(b"stss", struct.pack(">2I", 1, 1)),
        _full(b"stsc", struct.pack(">4I", 1, 1, count, 1)),
        _full(b"stsz", struct.pack(">2I", 0, count), sizes),
        _full(b"stco", struct.pack(">2I", 1, data_start)),
    )


def _sample_entry() -> bytes:
    cropped = figure.ROWS * h264.CELL - HEIGHT
    sequence = h264.sequence_parameters(figure.COLUMNS, figure.ROWS, cropped)
    picture = h264.picture_parameters()
    configuration = _box(
        b"avcC",
        b"\x01" + sequence[1:4] + b"\xff\xe1",
        struct.pack(">H", len(sequence)) + sequence,
        b"\x01" + struct.pack(">H", len(picture)) + picture,
    )
    return _box(
        b"avc1",
        struct.pack(">6xH16x2H", 1, WIDTH, HEIGHT),
        struct.pack(">2II", 0x480000, 0x480000, 0),
        struct.pack(">H32xHh", 1, 24, -1),
        configuration,
    )


def _box(kind: bytes, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return struct.pack(">I", 8 + len(content)) + kind + content


def _full(kind: bytes, *parts: bytes, flags: int = 0) -> bytes:
    return _box(kind, struct.pack(">I", flags), *parts)
