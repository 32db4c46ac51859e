"""The wheel is what users get: built, installed into an empty environment, and run from there."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from support.bench import jobs

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The console script of a wheel, in an environment that knows nothing of this checkout.

    The dependencies are those of the tests' own environment: only the package is new.
    """
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", folder, ROOT],
        check=True,
        capture_output=True,
    )
    [wheel] = folder.glob("*.whl")
    environment = folder / "env"
    venv.create(environment, with_pip=True, symlinks=True)
    python = environment / "bin" / "python"
    subprocess.run(
        [python, "-m", "pip", "install", "-q", "--no-deps", "--no-index", wheel], check=True
    )
    [site] = environment.glob("lib/python*/site-packages")
    [ours] = {path for path in sys.path if path.endswith("site-packages")} or {""}
    (site / "dependencies.pth").write_text(ours + "\n")
    return environment / "bin" / "kling-batch"


def run(script: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    surroundings = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder / "home"),
        "XDG_STATE_HOME": str(folder / "home"),
    }
    return subprocess.run(
        [script, *words],
        cwd=folder,
        env=surroundings,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_wheel_validates_plans_and_runs_on_the_simulator(installed, tmp_path):
    (tmp_path / "m.yaml").write_text(jobs(2))
    for words in (
        ("validate", "m.yaml"),
        ("plan", "m.yaml"),
        ("run", "m.yaml", "--simulate", "--yes"),
    ):
        done = run(installed, tmp_path, *words)
        assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.glob("outputs/batch/simulated/*.mp4")} == {
        "j1.mp4",
        "j2.mp4",
    }


def test_the_wheel_carries_schemas_and_types(installed):
    [package] = installed.parents[1].glob("lib/python*/site-packages/kling_batch")
    assert (package / "py.typed").exists()
    names = {path.name for path in (package / "schemas").glob("*.json")}
    assert names == {path.name for path in (ROOT / "schemas").glob("*.json")}
