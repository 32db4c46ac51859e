"""Planning 10,000 jobs beside three tools that do the like for other ends.

    python benchmarks/peers.py [--jobs N] [--rounds N]

Snakemake's dry run and promptfoo's validate look at work that is all new, doit's check at work
that is all done; so `plan` is measured on both. The peers are taken from PATH, and one that is not
there is left out: `pip install snakemake doit`, `npm install promptfoo`. Figures are of whole
processes on the clock, start included, medians of turns. Nothing is sent anywhere.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from measure import PROGRAM, Cost, compiled, cost, line, taking_turns

HERE = Path(__file__).parent
DONE = frozenset({0})
SNAKEFILE = """\
rule all:
    input: [f"out/{{n}}.txt" for n in range({jobs})]
rule one:
    output: "out/{{n}}.txt"
    shell: "echo {{wildcards.n}} > {{output}}"
"""
DODO = """\
def task_one():
    for n in range({jobs}):
        yield {{"name": str(n), "actions": [f"cp in.txt out/{{n}}.txt"], "file_dep": ["in.txt"],
               "targets": [f"out/{{n}}.txt"]}}
"""
PROMPTFOO = 'prompts: ["{{{{ who }}}} dances"]\nproviders: [echo]\ntests:\n{tests}'


def ours(folder: Path, kind: str, jobs: int) -> Sequence[str]:
    """`plan` of these jobs, new or all made."""
    path = folder / kind / "manifest.yaml"
    path.parent.mkdir()
    script = str(HERE / "plan_inputs.py")
    subprocess.run([sys.executable, script, kind, str(jobs), str(path)], check=True)
    return PROGRAM, "plan", str(path)


def snakemake(folder: Path, program: str, jobs: int) -> Sequence[str]:
    """A dry run of as many jobs, none of them made."""
    (folder / "Snakefile").write_text(SNAKEFILE.format(jobs=jobs))
    return program, "--dry-run", "--quiet", "-d", str(folder), "-s", str(folder / "Snakefile")


def promptfoo(folder: Path, program: str, jobs: int) -> Sequence[str]:
    """The check of a configuration with as many tests."""
    tests = "".join(f"  - vars: {{who: dancer {n}}}\n" for n in range(jobs))
    path = folder / "promptfooconfig.yaml"
    path.write_text(PROMPTFOO.format(tests=tests))
    return program, "validate", "-c", str(path)


def doit(folder: Path, program: str, jobs: int) -> Sequence[str]:
    """The check of as many tasks that are all up to date: they are run once before."""
    (folder / "in.txt").write_text("x")
    (folder / "out").mkdir()
    (folder / "dodo.py").write_text(DODO.format(jobs=jobs))
    command = (program, "-f", str(folder / "dodo.py"), "-d", str(folder), "-v", "0")
    subprocess.run([*command[:1], "run", *command[1:]], check=True, stdout=subprocess.DEVNULL)
    return program, "run", *command[1:]


PEERS: dict[str, tuple[str, Callable[[Path, str, int], Sequence[str]]]] = {
    "snakemake": ("pairs", snakemake),
    "promptfoo": ("pairs", promptfoo),
    "doit": ("made", doit),
}


def main() -> None:
    """Measure what is there, one tool after another."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        quiet = {"PROMPTFOO_DISABLE_TELEMETRY": "1", "PROMPTFOO_DISABLE_UPDATE": "1"}
        env = {**compiled(folder), **quiet, "PROMPTFOO_CONFIG_DIR": name, "HOME": name}
        os.environ.update(quiet)
        mine = {kind: ours(folder, kind, options.jobs) for kind in ("pairs", "made")}
        for command in mine.values():
            cost(command, env, DONE)  # compiles what pip would have
        for peer, (kind, prepare) in PEERS.items():
            program = shutil.which(peer)
            if program is None:
                print(f"{peer} is not on PATH")
                continue
            place = folder / peer
            place.mkdir()
            theirs = prepare(place, program, options.jobs)
            took = taking_turns({"ours": mine[kind], "theirs": theirs}, env, options.rounds)
            said = "of jobs all made" if kind == "made" else "of new jobs"
            _show(f"plan {said}, by {peer}", took["ours"], took["theirs"])


def _show(said: str, mine: Cost, theirs: Cost) -> None:
    shown = [f"{one.wall:.2f} s {one.mib:3.0f} MiB" for one in (mine, theirs)]
    line(said, *shown, mine.wall / theirs.wall, 1.0)


if __name__ == "__main__":
    main()
