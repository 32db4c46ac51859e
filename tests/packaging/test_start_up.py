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


@pytest.mark.parametrize(
    ("command", "unwanted"),
    [
        ("validate", ("dataclasses", "inspect", "jinja2", "hashlib", "sqlite3", "threading")),
        ("plan", ("dataclasses", "inspect", "jinja2")),
    ],
)
def test_a_small_manifest_loads_only_what_it_needs(tmp_path, command, unwanted):
    from support.bench import jobs

    # Names in a prompt are filled in without Jinja; structs.dataclass stands for the standard one.
    (tmp_path / "m.yaml").write_text(jobs(1).replace("'number 1'", "'{{ image.name }}'"))
    code = (
        f"import sys; from kling_batch.cli.main import main; main([{command!r}, 'm.yaml']);"
        f"print([m for m in {unwanted} if m in sys.modules], file=sys.stderr)"
    )
    words = [sys.executable, "-c", code]
    done = subprocess.run(
        words, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=30
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
