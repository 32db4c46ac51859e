"""What is asked for most is loaded least: `--help` and `--version` stay off the heavy libraries."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("requests", "urllib3", "jinja2", "jsonschema", "yaml", "sqlite3", "tqdm", "dataclasses")


@pytest.mark.parametrize("flag", ["--help", "--version"])
def test_help_and_version_load_no_heavy_library(flag):
    code = (
        "import sys; from kling_batch.cli.main import main; main([sys.argv[1]]);"
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, flag], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stderr.strip() == "[]"


def test_validate_and_plan_load_neither_requests_nor_the_simulator(tmp_path):
    from support.bench import jobs

    (tmp_path / "m.yaml").write_text(jobs(1))
    code = (
        "import sys; from kling_batch.cli.main import main;"
        "main(['validate', 'm.yaml']); main(['plan', 'm.yaml']);"
        "print([m for m in ('requests', 'jsonschema', 'tqdm', 'kling_batch.simulator.app')"
        " if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert done.stderr.strip() == "[]"
