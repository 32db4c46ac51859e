"""A look at a file's container: whole videos pass, pages and cut ones do not."""

from __future__ import annotations

import pytest

from kling_batch.execution.container import flaw
from kling_batch.simulator.media import mp4

FTYP = b"\x00\x00\x00\x14ftypisom\x00\x00\x02\x00isom"


@pytest.mark.parametrize(
    "body",
    [
        mp4(3, 1),
        b"\x1a\x45\xdf\xa3" + b"matroska",
        FTYP + b"\x00\x00\x00\x00mdat" + b"to the end",
        FTYP + b"\x00\x00\x00\x01mdat" + (26).to_bytes(8, "big") + b"0123456789",
        FTYP + bytes(range(256)),
        FTYP + b"x" * 300,
    ],
    ids=["mp4", "matroska", "a last box without length", "a long length", "no box", "no known box"],
)
def test_a_whole_video_has_no_flaw(tmp_path, body):
    (tmp_path / "v").write_bytes(body)
    assert flaw(tmp_path / "v") == ""


def test_a_video_cut_at_any_place_inside_of_a_box_is_told(tmp_path):
    body = mp4(3, 1)
    for end in (25, 40, len(body) // 2, len(body) - 1):
        (tmp_path / "v").write_bytes(body[:end])
        assert flaw(tmp_path / "v") == "it is cut short", end


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "empty"),
        (b"<!doctype html><p>Sign in", "page"),
        (b'  {"error": "expired"}', "page"),
        (b"GIF89a" + b"\x00" * 40, "no video"),
    ],
)
def test_what_is_no_video_is_told(tmp_path, body, said):
    (tmp_path / "v").write_bytes(body)
    assert said in flaw(tmp_path / "v")
