"""Bad manifests are files: NAME.yaml, and beside it NAME.txt with what is shown for it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kling_batch.manifest.load import load_manifest
from kling_batch.manifest.problems import ManifestInvalid, as_json, show

FOLDER = Path(__file__).parent / "bad"


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.yaml")))
def test_every_problem_is_shown_with_place_and_mend(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(FOLDER)
    with pytest.raises(ManifestInvalid) as caught:
        load_manifest(Path(f"{name}.yaml"))
    problems = caught.value.problems
    shown = "\n".join(show(problem) for problem in problems) + "\n"
    expected = FOLDER / f"{name}.txt"
    if os.environ.get("ACCEPT"):  # to write a new case: read what was written before committing
        expected.write_text(shown, encoding="utf-8")
    assert shown == expected.read_text(encoding="utf-8")
    for problem in problems:
        assert list(as_json(problem)) == ["file", "line", "column", "path", "message", "hint"]
        assert problem.line >= 1
        assert problem.column >= 1
        assert problem.message
