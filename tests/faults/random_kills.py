"""Kills a batch at random moments and resumes it: `random_kills.py [--kills N] [--no-intent]`.

Every seed is a batch of 30 jobs with a service of its own, killed at one random moment and then
resumed to its end by the same command. Doubles are charges beyond one a job; lost are charges
without a video on record at the end. With `--no-intent` the program runs without its
write-ahead (`without_intent.py`): a harness that finds no doubles then would prove nothing.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from harness import PATIENCE, Site, a_site, finished

JOBS = 30
WITHOUT_INTENT = (sys.executable, str(Path(__file__).with_name("without_intent.py")))
# The service acts and then takes its time to answer, so that kills often fall in between.
SLOW_ANSWERS = [{"on": "submit", "do": {"delay": 0.03}}]


@dataclass(frozen=True, slots=True)
class Figures:
    """What came of one batch or of many. `in_doubt`: kills between an intent and its answer."""

    kills: int = 0
    in_doubt: int = 0
    doubles: int = 0
    lost: int = 0
    unfinished: int = 0

    def __add__(self, other: Figures) -> Figures:
        return Figures(
            self.kills + other.kills,
            self.in_doubt + other.in_doubt,
            self.doubles + other.doubles,
            self.lost + other.lost,
            self.unfinished + other.unfinished,
        )

    def __str__(self) -> str:
        return (
            f"kills: {self.kills}, between an intent and its answer: {self.in_doubt},"
            f" doubles: {self.doubles}, lost: {self.lost}, unfinished: {self.unfinished}"
        )


def kill_once(seed: int, folder: Path, *, intent: bool = True) -> Figures:
    """One batch, killed at a moment that the seed chooses and resumed to its end."""
    chance = random.Random(seed)
    with a_site(folder, JOBS // 2, faults=SLOW_ANSWERS, seed=seed) as site:
        # Two takes a pair: twins with one request, which only their job ids tell apart.
        site.write(JOBS // 2, takes=2)
        if not intent:
            site.program = WITHOUT_INTENT
        # Most moments of a run lie between two submissions; the rest before and after them all.
        later = chance.uniform(0.0, 0.08 if chance.random() < 0.8 else 0.8)
        kills = _kill_at(site, chance.randint(0, JOBS), later)
        if intent:
            site.assert_money_is_safe()
        in_doubt = len(site.rows("SELECT id FROM attempts WHERE verdict IS NULL"))
        ended = site.run()
        if intent and ended.code == 0:
            site.assert_done(JOBS)
        paid = {charge.job_id for charge in site.service.ledger}
        got = {r.job_id for r in site.records().values() if r.state.value == "downloaded"}
        return Figures(kills, in_doubt, len(paid) - JOBS, len(paid - got), int(ended.code != 0))


def _kill_at(site: Site, submission: int, later: float) -> int:
    """Kill the run so many seconds after that submission came; 1 when it was still there."""
    process = site.start(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if submission:
        site.service.at_post(submission, lambda: None).wait(PATIENCE)
    time.sleep(later)
    process.kill()
    return int(finished(process).code < 0)


def kill_often(seeds: Iterable[int], *, intent: bool = True) -> Figures:
    """The sum over these seeds, two batches at a time."""

    def one(seed: int) -> Figures:
        with tempfile.TemporaryDirectory(prefix="kling-batch-kills-") as folder:
            return kill_once(seed, Path(folder), intent=intent)

    with ThreadPoolExecutor(2) as pool:
        return sum(pool.map(one, seeds), Figures())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100, metavar="N")
    parser.add_argument("--no-intent", action="store_true", help="the negative control")
    arguments = parser.parse_args()
    begun = time.monotonic()
    figures = kill_often(range(arguments.kills), intent=not arguments.no_intent)
    sys.stdout.write(f"{figures} ({time.monotonic() - begun:.0f} s)\n")
    failed = figures.doubles or figures.lost or figures.unfinished
    return int(bool(failed) != arguments.no_intent)


if __name__ == "__main__":
    sys.exit(main())
