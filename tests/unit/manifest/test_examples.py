"""The shipped manifests are cases: each loads, and teaches what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from kling_batch.manifest.load import load_manifest

FOLDER = Path(__file__).parents[3] / "manifests"
EDITOR_LINE = "# yaml-language-server: $schema=../schemas/manifest.v1.schema.json\n"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_manifest_loads_and_has_the_editor_line(path: Path) -> None:
    assert path.read_text().startswith(EDITOR_LINE)
    assert load_manifest(path).jobs


def test_there_are_at_least_six_shipped_manifests() -> None:
    assert len(list(FOLDER.glob("*.yaml"))) >= 6


def test_demo_is_six_short_jobs() -> None:
    jobs = load_manifest(FOLDER / "demo.yaml").jobs
    assert [job.id for job in jobs] == [
        "knight--waltz", "knight--bow", "robot--waltz", "robot--bow", "fox--waltz", "fox--bow",
    ]  # fmt: skip
    assert all(3 <= job.request.duration_seconds <= 6 for job in jobs)


def test_matrix_example_leaves_out_what_it_excludes() -> None:
    ids = {job.id for job in load_manifest(FOLDER / "matrix.yaml").jobs}
    assert "robot--waltz--720p--sun" in ids
    assert "robot--waltz--720p--rain" not in ids
    assert "knight--tango--1080p--sun" not in ids
    assert len(ids) == 17
