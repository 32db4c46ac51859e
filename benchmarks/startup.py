"""Start-up against `python -c 'import requests'`, in one run: medians of processes, and the ratio.

All of them find their modules compiled, as pip leaves them, whatever the checkout is used with.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 25
MANIFEST = """\
version: 1
defaults: {quality_mode: 720p, duration_seconds: 5, prompt: "{{ image.name }} dances"}
images: {knight: "https://cdn.example.com/knight.png"}
videos: {waltz: "https://cdn.example.com/waltz.mp4"}
pairs:
"""


def compiled(folder: str) -> dict[str, str]:
    """The surroundings in which modules are compiled once, into this folder."""
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPYCACHEPREFIX": folder}


def milliseconds(env: dict[str, str], *words: str) -> float:
    """One process from its start to its end."""
    started = time.perf_counter()
    subprocess.run([sys.executable, *words], capture_output=True, check=True, env=env)
    return (time.perf_counter() - started) * 1000


def main() -> None:
    """Take turns, so that a busy moment hits all alike."""
    with tempfile.TemporaryDirectory() as folder:
        manifest = Path(folder) / "ten.yaml"
        pairs = "".join(f"  - {{id: j{i}, image: knight, video: waltz}}\n" for i in range(10))
        manifest.write_text(MANIFEST + pairs)
        ours = (str(Path(sys.executable).with_name("kling-batch")),)
        cases = {
            "import requests": ("-c", "import requests"),
            "kling-batch --help": (*ours, "--help"),
            "kling-batch --version": (*ours, "--version"),
            "validate, 10 jobs": (*ours, "validate", str(manifest)),
            "plan, 10 jobs": (*ours, "plan", str(manifest)),
        }
        goals = {
            "kling-batch --help": 0.27,
            "kling-batch --version": 0.27,
            "validate, 10 jobs": 0.5,
            "plan, 10 jobs": 0.75,
        }
        took: dict[str, list[float]] = {name: [] for name in cases}
        env = compiled(folder)
        for words in cases.values():
            milliseconds(env, *words)
        for _ in range(ROUNDS):
            for name, words in cases.items():
                took[name].append(milliseconds(env, *words))
    base = statistics.median(took["import requests"])
    print(f"{'':24}{'median ms':>10}{'ratio':>8}{'goal':>8}")
    for name, times in took.items():
        median = statistics.median(times)
        goal = f"{goals[name]:.2f}" if name in goals else ""
        print(f"{name:24}{median:10.1f}{median / base:8.2f}{goal:>8}")


if __name__ == "__main__":
    main()
