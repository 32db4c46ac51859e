"""`validate`: every problem of every manifest, with its place."""

from __future__ import annotations

from kling_batch.cli.console import count, show, show_json
from kling_batch.cli.sources import read_source
from kling_batch.cli.surroundings import find_address
from kling_batch.errors import ExitCode
from kling_batch.manifest.problems import ManifestInvalid, Problem, as_github, as_json
from kling_batch.manifest.problems import show as problem_text


def command(manifests: list[str], *, form: str, wants_json: bool, base_url: str | None) -> ExitCode:
    """Check each manifest; exit 2 when one of them is invalid."""
    private = find_address(base_url).on_loopback
    problems: list[Problem] = []
    valid: dict[str, int] = {}
    for name in manifests:
        try:
            valid[name] = len(read_source(name, private_urls=private).jobs)
        except ManifestInvalid as invalid:
            problems += invalid.problems
    if wants_json or form == "json":
        told = [as_json(one) for one in problems]
        show_json({"valid": not problems, "problems": told, "jobs": sum(valid.values())})
    else:
        tell = as_github if form == "github" else problem_text
        lines = [f"{name}: valid, {count(jobs, 'job')}" for name, jobs in valid.items()]
        show("\n".join([*map(tell, problems), *lines]))
        if problems:
            show(f"\n{count(len(problems), 'problem')}")
    return ExitCode.USAGE if problems else ExitCode.DONE
