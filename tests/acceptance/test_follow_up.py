"""What a command says is to be typed next does what was asked for, at the same service."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys

import pytest
from support.bench import jobs

FAST = ("--poll-interval", "0.05")


@pytest.fixture
def batch(tmp_path):
    (tmp_path / "m.yaml").write_text(jobs(3))
    return tmp_path


def test_the_command_that_goes_on_keeps_choice_limit_and_address(call, service, batch):
    url = service.server.url
    flags = ("--only", "j1", "--only", "j2", "--max-credits", "60", "--base-url", url)
    told = call("run", "m.yaml", *flags, "--yes", *FAST)
    assert told.code == 4
    (line,) = [line for line in told.err.splitlines() if line.startswith("To go on with the 1 job")]
    assert shlex.split(line.partition("kling-batch ")[2]) == ["run", "m.yaml", *flags]


def test_a_stale_plan_is_made_again_for_the_same_service(call, service, batch):
    url = service.server.url
    flags = ("--only", "j1", "--max-credits", "100", "--base-url", url)
    assert call("plan", "m.yaml", "--out", "p.json", *flags).code == 0
    (batch / "m.yaml").write_text(jobs(3).replace("number 1", "another"))
    told = call("run", "p.json", "--base-url", url)
    assert told.code == 2
    words = shlex.split(told.err.partition("plan again: kling-batch ")[2].splitlines()[0])
    assert words == ["plan", "m.yaml", *flags, "--out", "p.json"]


def test_a_budget_that_keeps_a_retry_from_being_made_is_told_as_such(call, service, batch):
    (batch / "m.yaml").write_text(jobs(3).replace("number 1", "number 1 [fail]"))
    told = call("run", "m.yaml", "--only", "j1", "--yes", *FAST)
    assert told.code == 1, told.err
    for words in (("run", "m.yaml", "--retry-failed", "--only", "j1"), ("retry", "m.yaml")):
        told = call(*words, "--yes", "--max-credits", "30", *FAST)
        assert told.code == 4, told.err
        assert "--retry-failed" in told.err
        assert "--only j1" in told.err


def test_nothing_to_retry_has_a_summary_too(call, service, batch):
    told = call("retry", "m.yaml", "--json")
    assert told.code == 0
    assert [(one["event"], one["exit_code"]) for one in told.events] == [("summary", 0)]


def test_another_manifests_state_is_neither_planned_nor_shown(call, service, batch):
    assert call("run", "m.yaml", "--yes", *FAST).code == 0
    (batch / "copy.yaml").write_text(jobs(3))
    for words in (("plan",), ("status",), ("report",), ("run", "--yes")):
        told = call(words[0], "copy.yaml", *words[1:])
        assert told.code == 9
        assert "is the state of m.yaml" in told.err
    (batch / "m.yaml").rename(batch / "renamed.yaml")
    (batch / "copy.yaml").unlink()
    assert call("plan", "renamed.yaml", "--check").code == 0


def test_a_status_is_told_of_a_manifest_on_stdin(service, call, batch):
    assert call("run", "m.yaml", "--yes", *FAST).code == 0
    program = [sys.executable, "-m", "kling_batch"]
    told = subprocess.run(
        [*program, "status", "-", "--json"],
        cwd=batch, input=jobs(3).encode(), capture_output=True, check=False,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    assert told.stdout.count(b'"downloaded"') >= 3
    assert call("status", "-", "--watch").code == 2
    assert call("plan", "m.yaml", "--out", "-").code == 2


@pytest.mark.parametrize(
    ("redirect", "code"),
    [(">&-", 0), ("2>&-", 0), ("<&-", 0), (">/dev/full", 2)],
)
def test_a_closed_or_full_stream_is_no_bug(batch, redirect, code):
    for command in ("validate m.yaml", "plan m.yaml", "plan m.yaml --json"):
        line = f"{shlex.quote(sys.executable)} -m kling_batch {command} {redirect}"
        told = subprocess.run(["sh", "-c", line], cwd=batch, capture_output=True, check=False)
        assert (told.returncode, b"Traceback" in told.stderr) == (code, False), command


def test_a_closed_stdin_holds_no_manifest(batch):
    line = f"{shlex.quote(sys.executable)} -m kling_batch validate - <&-"
    told = subprocess.run(["sh", "-c", line], cwd=batch, capture_output=True, check=False)
    assert told.returncode == 2
    assert b"it is empty" in told.stdout


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_what_an_encoding_lacks_is_written_as_an_escape(batch, encoding, monkeypatch):
    (batch / "m.yaml").write_text(jobs(1).replace("number 1", "雨 🦊 é"), encoding="utf-8")
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    program = [sys.executable, "-m", "kling_batch"]
    told = subprocess.run(
        [*program, "plan", "m.yaml", "--json"], cwd=batch, capture_output=True, check=False
    )
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)["jobs"][0]["prompt"] == "雨 🦊 é"
    (batch / "m.yaml").write_text(jobs(1).replace("waltz,", "雨,"), encoding="utf-8")
    told = subprocess.run(
        [*program, "validate", "m.yaml"], cwd=batch, capture_output=True, check=False
    )
    assert told.returncode == 2
    assert b"Traceback" not in told.stderr


def test_a_budget_is_not_warned_of_where_nothing_is_left_to_buy(call, service, batch):
    assert call("run", "m.yaml", "--yes", *FAST).code == 0
    told = call("plan", "m.yaml", "--max-credits", "10", "--json")
    assert told.json["totals"]["credits"] == 0
    assert told.json["warnings"] == []
