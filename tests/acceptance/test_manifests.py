"""The shipped examples are cases: each is valid and planned, and some are run on the simulator."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[2] / "manifests").glob("*.yaml"))


def test_there_are_examples():
    assert len(EXAMPLES) >= 5


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_the_example_is_valid_and_planned(call, example):
    assert call("validate", example).code == 0
    plan = call("plan", example, "--json").json
    assert plan["totals"]["credits"] == sum(job["credits"] for job in plan["jobs"]) > 0


@pytest.mark.parametrize("name", ["smallest", "demo"])
def test_the_example_runs_on_the_simulator(call, tmp_path, name):
    source = next(path for path in EXAMPLES if path.stem == name)
    shutil.copytree(
        source.parent, tmp_path / "manifests", ignore=shutil.ignore_patterns(".*", "outputs")
    )
    manifest = tmp_path / "manifests" / source.name
    told = call("run", manifest, "--simulate", "--yes")
    assert told.code == 0, told.err
    planned = call("plan", manifest, "--simulate", "--json").json
    assert planned["totals"]["by_action"]["done"]["jobs"] == planned["totals"]["jobs"]
