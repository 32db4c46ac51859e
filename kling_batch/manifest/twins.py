"""Jobs that would share an id or a file."""

from __future__ import annotations

from collections.abc import Iterator

from kling_batch.manifest.jobs import Assembly
from kling_batch.manifest.outputs import DEFAULT_FILENAME
from kling_batch.manifest.problems import Finding, Line, Path, finding, path_text


def twins(assembly: Assembly) -> Iterator[Finding]:
    """Jobs that share an id or a file, or differ in one only by the case of letters."""
    jobs = assembly.jobs
    if len(set(map(str.lower, [job.id for job in jobs]))) < len(jobs):
        yield from _shared(assembly, "id", [job.id.lower() for job in jobs])
    elif assembly.filename != DEFAULT_FILENAME:
        import unicodedata

        files = [unicodedata.normalize("NFC", job.output).casefold() for job in jobs]
        yield from _shared(assembly, "file", files)
        yield from _nested(assembly, files)


def _shared(assembly: Assembly, what: str, keys: list[str]) -> Iterator[Finding]:
    first: dict[str, int] = {}
    told: set[tuple[Path, Path]] = set()
    for index, key in enumerate(keys):
        before = first.setdefault(key, index)
        if before == index:
            continue
        origins = assembly.origins[index], assembly.origins[before]
        if origins in told:
            continue  # further takes of the same two, or further cells of one block
        told.add(origins)
        yield _twin(assembly, what, index, before)


def _twin(assembly: Assembly, what: str, index: int, before: int) -> Finding:
    here, there = assembly.origins[index], assembly.origins[before]
    job, twin = assembly.jobs[index], assembly.jobs[before]
    mine, theirs = (job.id, twin.id) if what == "id" else (job.output, twin.output)
    same = f"the {what} `{mine}` is taken" if mine == theirs else (
        f"the {what} `{mine}` differs from `{theirs}` only by case"
    )  # fmt: skip
    file, other = assembly.files.get(here[:2], ""), assembly.files.get(there[:2], "")
    where = f"{other}, line " if other else f"{path_text(there)}, line "
    if file and not other:
        where = f"{path_text(there)} of the manifest, line "
    hint = "give one of the two another `id:`"
    if here == there and here[0] == "matrix":
        hint = "two names or axis values of this block come to the same part of an id"
    if what == "file":
        hint = "put `{{ id }}` into `output.filename`"
    said = (f"{same}: first at {where}", Line(there, other))
    return Finding(here, said, hint, file=file)


def _nested(assembly: Assembly, files: list[str]) -> Iterator[Finding]:
    """A file can't also be a folder: ``a.mp4`` and ``a.mp4/b.mp4``."""
    taken = set(files)
    for file, job in zip(files, assembly.jobs, strict=True):
        parts = file.split("/")
        if any("/".join(parts[:end]) in taken for end in range(1, len(parts))):
            said = f"a part of the file name `{job.output}` is another job's file"
            yield finding(("output", "filename"), said, hint="use other folder names")
            return
