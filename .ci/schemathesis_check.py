"""Holds the simulator against the service's contract: `schemathesis_check.py OPENAPI`.

Starts the stand-in on loopback and runs schemathesis with every check on, but for one: the
history takes a `limit` or `offset` out of bounds as not given, as the service's framework does,
and the contract documents no 400 there; so what it does with them is not called a failure.
Exits with schemathesis's own code, which is not 0 for any failure.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

from kling_batch.clock import SystemClock
from kling_batch.simulator.app import Simulator
from kling_batch.simulator.server import serve

DEFAULT_CONTRACT = Path(__file__).parents[2] / "shared" / "api" / "openapi.yaml"
KEY = "ulazai_live_schemathesis"
EXAMPLES = 150
TIME_LIMIT = 110.0

# Nothing in the contract links a legacy generation to its status, so one is made beforehand.
CONFIG = """
[[operations]]
include-operation-id = "legacyStatus"
[operations.parameters]
"path.generation_id" = "{generation}"

[[operations]]
include-operation-id = "history"
[operations.checks.negative_data_rejection]
enabled = false
"""


def make_generation(url: str) -> str:
    """The id of a job made through the legacy contract."""
    fields = {
        "video_model": "kling_3_0_motion_control",
        "prompt": "A person waves",
        "source_image_urls": [f"{url}/inputs/person.png"],
        "video_urls": [f"{url}/inputs/wave-3s.mp4"],
        "quality_mode": "720p",
        "duration_seconds": 3,
    }
    request = urllib.request.Request(  # noqa: S310 - our own loopback address
        f"{url}/api/v1/generate/video/",
        data=json.dumps(fields).encode(),
        headers={"authorization": f"Bearer {KEY}", "content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310 - as above
        return str(json.load(answer)["data"]["generation_id"])


def main(contract: Path) -> int:
    if not contract.is_file():
        sys.exit(f"No contract at {contract}: give the path of openapi.yaml.")
    simulator = Simulator(
        SystemClock(), key=KEY, balance=10**9, submissions_per_hour=None, job_seconds=0.2
    )
    with serve(simulator) as server, tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "schemathesis.toml"
        config.write_text(CONFIG.format(generation=make_generation(server.url)))
        command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run"]
        command += [str(contract.resolve()), "--url", server.url]
        command += ["--header", f"Authorization: Bearer {KEY}"]
        command += ["--max-examples", str(EXAMPLES), "--seed", "1"]
        command += ["--continue-on-failure"]
        run = subprocess.run(  # noqa: S603 - a command of our own making
            command, cwd=folder, timeout=TIME_LIMIT, check=False
        )
    return run.returncode


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_CONTRACT))
