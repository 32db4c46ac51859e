"""The table of what `validate`, `plan` and `status` take, each row with its ratio and its goal.

    python benchmarks/plan.py [ROW …] [--rounds N] [--keep FOLDER]

Without a ROW all of them. Every figure is of whole processes, start included; those that are
compared take turns in one run. A ratio is of processor seconds, which a busy machine disturbs
less than the clock; all but the rows of benchmarks/run.py have one thread and wait for nothing.
Needs about 1.7 GiB for CSafeLoader's 100,000 pairs, and ten minutes.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from measure import CSAFE, PROGRAM, Cost, compiled, cost, head, line, shown, taking_turns

HERE = Path(__file__).parent
INVALID = frozenset({2})
SIZES = {"1k": 1_000, "10k": 10_000, "100k": 100_000}
GOALS = {
    "validate": {"1k": 0.65, "10k": 0.20, "100k": 0.18},
    "plan": {"1k": 1.1, "10k": 0.30, "100k": 0.29},
}
MEMORY = {"validate": 210.0, "plan": 240.0}
LINEAR = 1.1
UNCHANGED = 1.3
MATRIX = 0.6
MISTAKES = 1.5
PROMPTS = 1.2
STATUS_SECONDS = 1.0


class Bench:
    """A folder with the inputs, made when a row first asks for them."""

    def __init__(self, folder: Path, rounds: int) -> None:
        self.folder = folder
        self.rounds = rounds
        self.env: Mapping[str, str] = compiled(folder)
        self._warm()

    def input(self, kind: str, count: int) -> Path:
        """A manifest of this kind, written by a process of its own: memory is inherited."""
        path = self.folder / f"{kind}-{count}" / "manifest.yaml"
        if not path.exists():
            path.parent.mkdir(parents=True)
            script = str(HERE / "plan_inputs.py")
            subprocess.run(
                [sys.executable, script, kind, str(count), str(path)], check=True, env=self.env
            )
        return path

    def rounds_for(self, count: int) -> int:
        """Fewer of what takes long: CSafeLoader needs half a minute for 100,000 pairs."""
        return max(1, self.rounds // (1 if count < 10_000 else 2 if count < 100_000 else 3))

    def _warm(self) -> None:
        path = self.input("pairs", 10)
        for words in (("validate",), ("plan",), ("status",)):
            cost((PROGRAM, *words, str(path)), self.env, frozenset({0}))
        cost((*CSAFE, str(path)), self.env, frozenset({0}))


def against_csafe(bench: Bench) -> None:
    """`validate` and `plan` of listed pairs, against reading their YAML as everyone does."""
    plans: dict[str, Cost] = {}
    for size, count in SIZES.items():
        path = str(bench.input("pairs", count))
        commands = {name: (PROGRAM, name, path) for name in GOALS}
        rounds = bench.rounds_for(count)
        took = taking_turns({**commands, "csafe": (*CSAFE, path)}, bench.env, rounds)
        for name in GOALS:
            goal, base = GOALS[name][size], took["csafe"]
            ratio = took[name].cpu / base.cpu
            line(f"{name} {size}, by CSafe", shown(took[name]), shown(base), ratio, goal)
        plans[size] = took["plan"]
        if size == "100k":
            for name, most in MEMORY.items():
                mib = took[name].mib
                line(f"{name} 100k, memory", f"{mib:.0f} MiB", f"{most:.0f} MiB", mib / most, 1.0)
    ratio = plans["100k"].cpu / plans["10k"].cpu / 10
    line("plan 100k by ten times 10k", shown(plans["100k"]), shown(plans["10k"]), ratio, LINEAR)


def unchanged(bench: Bench) -> None:
    """100,000 jobs that are all made, their files there, against none of them begun."""
    made, new = bench.input("made", SIZES["100k"]), bench.input("pairs", SIZES["100k"])
    compare(bench, "plan 100k unchanged, by an empty state", made, new, UNCHANGED)


def matrix(bench: Bench) -> None:
    """A matrix of 1,000 x 100 against the same pairs written out."""
    block, listed = bench.input("matrix", SIZES["100k"]), bench.input("listed", SIZES["100k"])
    for command in ("validate", "plan"):
        said = f"{command} a matrix 1,000 x 100, by pairs"
        compare(bench, said, block, listed, MATRIX, command)


def mistakes(bench: Bench) -> None:
    """1,000 mistakes among 100,000 pairs against none."""
    wrong = str(bench.input("mistakes", SIZES["100k"]))
    clean = str(bench.input("pairs", SIZES["100k"]))
    rounds = bench.rounds_for(SIZES["100k"])
    both = {"wrong": (PROGRAM, "validate", wrong), "clean": (PROGRAM, "validate", clean)}
    took = taking_turns(both, bench.env, rounds, INVALID | {0})
    a, b = took["wrong"], took["clean"]
    line("validate 1,000 mistakes in 100k, by none", shown(a), shown(b), a.cpu / b.cpu, MISTAKES)
    most = MEMORY["validate"]
    line("validate mistakes, memory", f"{a.mib:.0f} MiB", f"{most:.0f} MiB", a.mib / most, 1.0)


def prompts(bench: Bench) -> None:
    """Different prompts against one template for all; many different templates are reported."""
    count, few = SIZES["100k"], SIZES["10k"]
    one = bench.input("one-template", count)
    plain = bench.input("plain-prompts", count)
    compare(bench, "validate 100k prompts, by one template", plain, one, PROMPTS, "validate")
    one = bench.input("one-template", few)
    for kind, said in (("templates", "of names"), ("jinja-templates", "with a filter")):
        other = bench.input(kind, few)
        text = f"validate 10k templates {said}, by one"
        compare(bench, text, other, one, None, "validate")


def start_up(_: Bench) -> None:
    """Small commands against `python -c 'import requests'`."""
    import startup

    startup.main()


def status(bench: Bench) -> None:
    """`status` of 100,000 records: what they add to start-up, in seconds."""
    many, few = bench.input("made", SIZES["100k"]), bench.input("made", 10)
    both = {name: (PROGRAM, "status", str(path)) for name, path in (("many", many), ("few", few))}
    took = taking_turns(both, bench.env, bench.rounds_for(SIZES["10k"]))
    more = took["many"].cpu - took["few"].cpu
    text = "status of 100k records, seconds over start-up"
    line(text, shown(took["many"]), shown(took["few"]), more, STATUS_SECONDS)


def transitions(bench: Bench) -> None:
    """Durable commits of the state against SQLite's own."""
    import run

    run.transitions(bench.folder)


def overhead(bench: Bench) -> None:
    """A job in `run` against a bare pool of `requests` threads."""
    import run

    run.overhead(bench.folder, bench.env)


ROWS: dict[str, Callable[[Bench], None]] = {
    "start-up": start_up,
    "csafe": against_csafe,
    "unchanged": unchanged,
    "matrix": matrix,
    "mistakes": mistakes,
    "prompts": prompts,
    "status": status,
    "transitions": transitions,
    "run": overhead,
}


def compare(
    bench: Bench, said: str, ours: Path, other: Path, goal: float | None, command: str = "plan"
) -> None:
    """One command on two manifests."""
    cases = {"ours": (PROGRAM, command, str(ours)), "other": (PROGRAM, command, str(other))}
    took = taking_turns(cases, bench.env, bench.rounds_for(SIZES["100k"]))
    a, b = took["ours"], took["other"]
    line(said, shown(a), shown(b), a.cpu / b.cpu, goal)


def main() -> None:
    """Measure the rows that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("rows", nargs="*", choices=[[], *ROWS], metavar="ROW")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the inputs here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        kept = options.keep or Path(folder)
        bench = Bench(kept, options.rounds)
        head()
        for name in options.rows or ROWS:
            ROWS[name](bench)


if __name__ == "__main__":
    main()
