"""The README is held to the program: its manifest, its codes, its commands."""

from __future__ import annotations

import re
from pathlib import Path

from kling_batch.cli.parser import build_parser
from kling_batch.errors import ExitCode
from kling_batch.manifest.load import load_manifest

README = (Path(__file__).parents[2] / "README.md").read_text()


def test_its_first_manifest_is_valid_and_makes_the_jobs_of_its_picture(tmp_path):
    [text] = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    (tmp_path / "spring-dance.yaml").write_text(text)
    manifest = load_manifest(tmp_path / "spring-dance.yaml")
    shown = re.findall(r"^[=>+x] +\w+ +([\w.-]+) ", README, re.MULTILINE)
    assert {job.id for job in manifest.jobs} == set(shown)


def test_it_lists_every_exit_code(tmp_path):
    assert {int(code) for code in re.findall(r"^\| (\d+) \| ", README, re.MULTILINE)} == {
        int(code) for code in ExitCode
    }


def test_it_names_every_command(tmp_path):
    [line] = re.findall(r"^`init`.*?: `kling-batch COMMAND", README, re.MULTILINE)
    named = set(re.findall(r"`(\w+)`", line))
    known = set(build_parser()._subparsers._group_actions[0].choices)  # type: ignore[union-attr]
    assert known <= named
