"""The videos and pictures are real files: read here by readers of the tests' own."""

from __future__ import annotations

import shutil
import struct
import subprocess
import zlib
from pathlib import Path

import pytest

from kling_batch.simulator import figure, h264, media

CONTAINERS = {b"moov", b"trak", b"mdia", b"minf", b"stbl"}


def boxes(data: bytes, prefix: str = "") -> dict[str, bytes]:
    """Every box by its path; raises where a size leads out of its parent."""
    found: dict[str, bytes] = {}
    at = 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        assert 8 <= size <= len(data) - at
        content = data[at + 8 : at + size]
        path = f"{prefix}/{kind.decode()}"
        found[path] = content
        if kind in CONTAINERS:
            found |= boxes(content, path)
        at += size
    return found


@pytest.mark.parametrize("seconds", range(3, 31))
def test_a_video_lasts_exactly_as_long_as_asked(seconds: int) -> None:
    parts = boxes(media.mp4(seconds, seconds))
    assert next(iter(parts)) == "/ftyp"
    scale, duration = struct.unpack_from(">2I", parts["/moov/mvhd"], 12)
    assert duration == seconds * scale
    media_scale, media_duration = struct.unpack_from(">2I", parts["/moov/trak/mdia/mdhd"], 12)
    assert media_duration == seconds * media_scale
    table = "/moov/trak/mdia/minf/stbl"
    count, each = struct.unpack_from(">2I", parts[f"{table}/stts"], 8)
    assert count * each == media_duration


def test_the_index_points_at_every_picture_and_the_data_is_used_up() -> None:
    data = media.mp4(4, "any")
    parts = boxes(data)
    table = "/moov/trak/mdia/minf/stbl"
    (count,) = struct.unpack_from(">I", parts[f"{table}/stsz"], 8)
    sizes = struct.unpack_from(f">{count}I", parts[f"{table}/stsz"], 12)
    (at,) = struct.unpack_from(">I", parts[f"{table}/stco"], 8)
    kinds = []
    for size in sizes:
        (length,) = struct.unpack_from(">I", data, at)
        assert length == size - 4
        kinds.append(data[at + 4] & 31)
        at += size
    assert at == len(data)
    assert kinds == [5] + [1] * (count - 1)


def test_videos_are_small() -> None:
    assert max(len(media.mp4(30, seed)) for seed in range(30)) < 60_000


def test_each_seed_looks_its_own_way_and_always_the_same() -> None:
    again = media.mp4.__wrapped__(5, 1)
    assert media.mp4(5, 1) == again
    assert len({media.mp4(5, seed) for seed in range(50)}) == 50


@pytest.mark.parametrize(("name", "seconds"), [("walk-15s.mp4", 15), ("walk.mp4", 10)])
def test_a_clip_lasts_as_long_as_its_name_says(name: str, seconds: int) -> None:
    assert media.clip(name) == media.mp4(seconds, name)


def test_a_picture_is_a_whole_png_of_the_size_that_models_want() -> None:
    data = media.png("fox.png")
    at, pixels, kinds = 8, b"", []
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        content = data[at + 8 : at + 8 + size]
        (check,) = struct.unpack_from(">I", data, at + 8 + size)
        assert check == zlib.crc32(kind + content)
        kinds.append(kind)
        pixels += content if kind == b"IDAT" else b""
        at += 12 + size
    assert kinds == [b"IHDR", b"IDAT", b"IEND"]
    assert len(zlib.decompress(pixels)) == 480 * (1 + 3 * 360)
    assert media.png("fox.png") != media.png("owl.png")


def test_a_picture_never_holds_a_start_code() -> None:
    grids = [figure.dancer(figure.Look.of(seed), 0.3) for seed in range(20)]
    for unit in map(h264.key_picture, grids):
        assert b"\0\0\0" not in unit
        assert b"\0\0\1" not in unit
        assert b"\0\0\2" not in unit


def test_a_start_code_in_the_bits_is_escaped() -> None:
    bits = h264.Bits()
    for value in (0, 0, 1, 0, 0, 0, 0, 4):
        bits.u(value, 8)
    assert bits.unit(0x65) == b"\x65\0\0\3\1\0\0\3\0\0\4\x80"


def test_an_unchanged_picture_is_a_few_bytes() -> None:
    grid = figure.dancer(figure.Look.of(1), 0)
    assert len(h264.next_picture(grid, grid, 1)) < 10


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg is not installed")
def test_a_decoder_sees_exactly_the_cells_that_were_drawn(tmp_path: Path) -> None:
    """Lossless by design, so every decoded pixel of every picture can be foretold."""
    file = tmp_path / "dance.mp4"
    file.write_bytes(media.mp4(6, 3))
    command = ["ffmpeg", "-v", "error", "-xerror", "-i", str(file)]
    command += ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-"]
    raw = subprocess.run(command, capture_output=True, check=True, timeout=60)
    assert raw.stderr == b""
    look = figure.Look.of(3)
    wanted = (planes(figure.dancer(look, step % 16 / 16)) for step in range(36))
    assert raw.stdout == b"".join(wanted)


def planes(grid: h264.Grid) -> bytes:
    """A grid as 640 by 360 pixels of YUV 4:2:0."""
    out = []
    for plane, (side, height) in enumerate(((16, 360), (8, 180), (8, 180))):
        rows = [b"".join(bytes([cell[plane]]) * side for cell in cells) * side for cells in grid]
        out.append(b"".join(rows)[: 40 * side * height])
    return b"".join(out)
