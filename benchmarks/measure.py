"""Processes measured: time, memory, turns taken, and one line for each comparison."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PROGRAM = str(Path(sys.executable).with_name("kling-batch"))
CSAFE = (
    sys.executable,
    "-c",
    "import sys, yaml; yaml.load(open(sys.argv[1], 'rb'), yaml.CSafeLoader)",
)
"""The manifest's YAML as everyone reads it: a fresh process, the collector on."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a process took: seconds on the clock and of the processor, and its peak in MiB."""

    wall: float
    cpu: float
    mib: float


def compiled(folder: Path) -> dict[str, str]:
    """The surroundings in which modules are compiled once, into this folder, as pip leaves them."""
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONDONTWRITEBYTECODE", "COLUMNS")}
    for name in ("ULAZAI_API_KEY", "ULAZAI_BASE_URL"):
        kept.pop(name, None)
    return {**kept, "PYTHONPYCACHEPREFIX": str(folder / "compiled")}


def cost(words: Sequence[str], env: Mapping[str, str], expected: frozenset[int]) -> Cost:
    """One process from its start to its end."""
    started = time.perf_counter()
    process = subprocess.Popen(
        list(words), env=dict(env), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in expected:
        raise SystemExit(f"{' '.join(words)} ended with {process.returncode}")
    return Cost(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def taking_turns(
    cases: Mapping[str, Sequence[str]],
    env: Mapping[str, str],
    rounds: int,
    expected: frozenset[int] = frozenset({0}),
) -> dict[str, Cost]:
    """The median of each case; they take turns, so that a busy moment hits all alike."""
    taken: dict[str, list[Cost]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, words in cases.items():
            taken[name].append(cost(words, env, expected))
    return {
        name: Cost(
            statistics.median(one.wall for one in costs),
            statistics.median(one.cpu for one in costs),
            max(one.mib for one in costs),
        )
        for name, costs in taken.items()
    }


def head() -> None:
    """The columns of `line`."""
    print(f"{'':46}{'measured':>18}{'against':>16}{'ratio':>8}{'goal':>8}", flush=True)


def line(
    work: str,
    measured: str,
    against: str,
    ratio: float,
    goal: float | None,
    *,
    at_least: bool = False,
) -> None:
    """One comparison. A ratio without a goal is only reported."""
    wanted = "" if goal is None else f"{'≥ ' if at_least else '≤ '}{goal:.2f}"
    beyond = 0.0 if goal is None else round(ratio, 2) - goal
    missed = beyond < 0 if at_least else beyond > 0
    tail = "  missed" if missed else ""
    print(f"{work:46}{measured:>18}{against:>16}{ratio:>8.2f}{wanted:>8}{tail}", flush=True)


def shown(one: Cost) -> str:
    """ "3.61 s 171 MiB"."""
    return f"{one.wall:.2f} s {one.mib:3.0f} MiB"
