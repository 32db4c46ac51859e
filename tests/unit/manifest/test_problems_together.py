"""One mistake hides no other: what is wrong elsewhere in a job is told at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from kling_batch.manifest.load import load_manifest
from kling_batch.manifest.problems import ManifestInvalid

HEAD = """\
version: 1
defaults: {quality_mode: 720p, duration_seconds: 5, prompt: "PROMPT"}
images: {knight: "IMAGE"}
videos: {waltz: "https://cdn.example.com/w.mp4"}
"""


def messages(path: Path) -> list[str]:
    with pytest.raises(ManifestInvalid) as told:
        load_manifest(path)
    return [problem.message for problem in told.value.problems]


def test_a_private_url_does_not_hide_a_broken_template(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    text = HEAD.replace("PROMPT", "{{ image.nmae }}").replace("IMAGE", "http://10.0.0.7/k.png")
    path.write_text(text + "pairs: [{image: knight, video: waltz}]\n")
    template, url = messages(path)
    assert "image.nmae" in template
    assert "10.0.0.7" in url


def test_a_wrong_length_in_a_table_does_not_hide_an_unknown_image(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("image,video,duration_seconds\nknigt,waltz,99\n")
    path = tmp_path / "m.yaml"
    text = HEAD.replace("PROMPT", "dances").replace("IMAGE", "https://cdn.example.com/k.png")
    path.write_text(text + "pairs_from: [t.csv]\n")
    found = messages(path)
    assert len(found) == 2
    assert any("knigt" in one for one in found)
    assert any("99" in one for one in found)
