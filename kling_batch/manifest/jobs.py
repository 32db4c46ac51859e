"""Cells → jobs: settings layered, prompts rendered, ids and files checked against each other."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from kling_batch.manifest.bounds import TemplateFault, group
from kling_batch.manifest.decisions import new_takes, redo_takes, take_id
from kling_batch.manifest.expand import MAX_JOBS, NO_DOUBTS, Cell
from kling_batch.manifest.inputs import Input, Variables
from kling_batch.manifest.outputs import (
    DEFAULT_FILENAME,
    RESERVED_MAX,
    is_reserved,
    output_fault,
)
from kling_batch.manifest.problems import Finding, Line, Path, finding, path_text
from kling_batch.manifest.prompt import Templates, is_template
from kling_batch.manifest.shape import STAND_INS
from kling_batch.model import DURATION_MAX_IMAGE, PROMPT_MAX, Job, JobRequest
from kling_batch.structs import dataclass, field

BUILT_IN = {"takes": 1, "character_orientation": "video"}
_ID_MAX = 128
_TAKE_MAX = len(".take100")
_MENDS = {
    "quality_mode": "add `quality_mode: 720p` (or 1080p) to `defaults`, or to each job",
    "duration_seconds": "add `duration_seconds: 5` (3 to 30) to `defaults`, or to each job",
    "prompt": "add `prompt:` to `defaults`, or to each job",
}


@dataclass(slots=True)
class _Group:
    """A finding that several jobs share: shown once, with how many and which first."""

    finding: Finding
    first: str
    detail: str
    count: int = 0


@dataclass(slots=True)
class _Terms:
    """What the settings of a cell come to; the cells of a matrix block share them.

    ``prompt`` is stripped where it is no template; ``lacking`` are settings that nobody gives.
    They depend on the settings of the cell's place (``own``) and its video's length (``clip``).
    """

    own: Mapping[str, Any]
    clip: int | None
    settings: Mapping[str, Any]
    takes: int
    duration: int
    prompt: str
    is_template: bool
    lacking: tuple[str, ...]


@dataclass(slots=True)
class Assembly:
    """Makes jobs of cells, one after another, and keeps what is wrong with them."""

    defaults: Mapping[str, Any]
    variables: Variables
    filename: str = DEFAULT_FILENAME
    doubts: frozenset[str] = NO_DOUBTS
    marked: Collection[str] = ()
    redone: dict[str, str] = field(default_factory=dict)
    files: dict[Path, str] = field(default_factory=dict)
    jobs: list[Job] = field(default_factory=list)
    origins: list[Path] = field(default_factory=list)
    count: int = 0
    _base: dict[str, Any] = field(default_factory=dict)
    _last: _Terms | None = None
    _terms: dict[tuple[int, int | None], _Terms] = field(default_factory=dict)
    _terms_for: Path = ()
    _templates: Templates = field(default_factory=Templates)
    _groups: dict[tuple[Any, ...], _Group] = field(default_factory=dict)
    _lacking: dict[str, list[Cell]] = field(default_factory=dict)
    _kept: dict[str, tuple[Cell, _Terms]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._base = {**BUILT_IN, **self.defaults}

    def add(self, cell: Cell) -> bool:
        """Make the cell's jobs. False: there are too many by now."""
        terms = self._last  # the cells of a block most often share theirs
        if terms is None or cell.settings is not terms.own or cell.video.duration != terms.clip:
            terms = self._last = self._terms_of(cell)
        takes = terms.takes
        self.count += takes
        if self.count > MAX_JOBS:
            return False
        for key in terms.lacking:
            self._lacking.setdefault(key, []).append(cell)
        if len(cell.id) >= _ID_MAX - _TAKE_MAX:
            self._check_id(cell, takes)
        if terms.duration > DURATION_MAX_IMAGE:
            self._check_orientation(cell, terms)
        self._make(cell, terms, 1)
        for take in range(2, takes + 1):
            self._make(cell, terms, take)
        if cell.id in self.marked:
            self._kept[cell.id] = cell, terms
        return True

    def _terms_of(self, cell: Cell) -> _Terms:
        if cell.path is not self._terms_for:  # those of a block are kept while it lasts
            self._terms_for = cell.path
            self._terms.clear()
        key = id(cell.settings), cell.video.duration
        kept = self._terms.get(key)
        if kept is None:
            # They hold on to these settings: a freed one's id would stand for another.
            kept = self._terms[key] = self._made_terms(cell)
        return kept

    def _made_terms(self, cell: Cell) -> _Terms:
        settings = {**self._base, **cell.settings}
        if cell.video.duration is not None and "duration_seconds" not in cell.settings:
            settings["duration_seconds"] = cell.video.duration
        lacking = tuple(key for key in _MENDS if key not in settings)
        for key in lacking:  # so that what else is wrong is told at once
            settings[key] = STAND_INS[key]
        prompt: str = settings["prompt"]
        templated = is_template(prompt)
        return _Terms(
            cell.settings,
            cell.video.duration,
            settings,
            int(settings["takes"]),
            int(settings["duration_seconds"]),
            prompt if templated else prompt.strip(),
            templated,
            lacking,
        )

    def redo(self, decisions: Mapping[str, str]) -> None:
        """Make the takes that these decisions add, behind all others."""
        own = {job.id: (job.pair, job.take) for job in self.jobs if job.pair in self._kept}
        for pair, takes in redo_takes(decisions, own).items():
            if pair not in self._kept:
                continue
            cell, terms = self._kept[pair]
            for take, instead_of in new_takes(terms.takes, takes):
                self.count += 1
                self.redone[take_id(pair, take)] = take_id(pair, instead_of)
                self._make(cell, terms, take)

    def _make(self, cell: Cell, terms: _Terms, take: int) -> None:
        name = cell.id
        job_id = name if take == 1 else f"{name}.take{take}"  # as take_id; this is called for all
        prompt = terms.prompt
        if terms.is_template:
            scope = self._scope(cell, terms, job_id, take)
            rendered = self._render(cell, prompt, scope, self.origin(cell, "prompt"), job_id)
            prompt = STAND_INS["prompt"] if rendered is None else rendered.strip()
        if not 0 < len(prompt) <= PROMPT_MAX:
            self._bad_length(cell, len(prompt), job_id)
        output = f"{job_id}.mp4"
        if self.filename != DEFAULT_FILENAME:
            scope = self._scope(cell, terms, job_id, take)
            made = self._render(cell, self.filename, scope, ("output", "filename"), job_id)
            if made is not None:
                output = made
                self._bad_output(cell, output, job_id)
        elif (len(job_id) <= RESERVED_MAX or "." in job_id) and is_reserved(job_id):
            self._bad_output(cell, output, job_id)
        if cell.doubts and (not cell.states_id or self.filename != DEFAULT_FILENAME):
            return  # it may be another's twin only by what stands in
        settings = terms.settings
        request = JobRequest(
            prompt,
            cell.image.url,
            cell.video.url,
            settings["character_orientation"],
            settings["quality_mode"],
            terms.duration,
        )
        image, video = cell.image.reference, cell.video.reference
        self.jobs.append(Job(job_id, request, output, name, take, image, video))
        self.origins.append(_id_path(cell) if cell.states_id else cell.path)

    def _check_id(self, cell: Cell, takes: int) -> None:
        longest = len(cell.id) if takes == 1 else len(take_id(cell.id, takes))
        if longest <= _ID_MAX:
            return
        said = f"the id `{cell.id[:60]}…` has {longest} characters, at most {_ID_MAX} are allowed"
        if takes > 1:
            said = f"{said} (with `.take{takes}`)"
        hint = "give a short `id:`, or shorter names"
        self.note(cell, Finding(_id_path(cell), (said,), hint), cell.id)

    def _scope(self, cell: Cell, terms: _Terms, job_id: str, take: int) -> dict[str, Any]:
        video = _input_scope(cell.video)
        video["duration_seconds"] = cell.video.duration or terms.duration
        return {
            "image": group("image", _input_scope(cell.image)),
            "video": group("video", video),
            "vars": group("vars", {**self.variables, **cell.variables}),
            "id": job_id,
            "take": take,
            "quality_mode": terms.settings["quality_mode"],
            "character_orientation": terms.settings["character_orientation"],
            "duration_seconds": terms.duration,
        }

    def _render(
        self, cell: Cell, text: str, scope: Mapping[str, Any], origin: Path, job_id: str
    ) -> str | None:
        try:
            return self._templates.render(text, scope)
        except TemplateFault as fault:
            doubts = self.doubts | cell.doubts
            for one in (fault, *self._templates.further(text, scope, fault)):
                if doubts and _comes_of(one, doubts):
                    continue
                made = Finding(origin, (one.message,), one.hint, needle=one.needle, row=one.row)
                self.note(cell, made, job_id)
            return None

    def origin(self, cell: Cell, key: str) -> Path:
        """Where the cell's setting comes from."""
        for path, layer in cell.layers:
            if key in layer:
                return path if path[-1:] == (key,) else (*path, key)
        if key == "duration_seconds" and cell.video.duration is not None:
            return ("videos", cell.video.reference, key)
        return ("defaults", key)

    def note(self, cell: Cell, found: Finding, job_id: str, detail: str = "") -> None:
        """Keep a finding about a job; those that share a place and a text are one.

        ``detail`` is what the first of them adds to the text.
        """
        if cell.file and found.path[: len(cell.path)] == cell.path:
            found = Finding(found.path, found.said, found.hint, file=cell.file, needle=found.needle)
        key = (found.file, found.path, found.said)
        same = self._groups.setdefault(key, _Group(found, job_id, detail))
        same.count += 1

    def _check_orientation(self, cell: Cell, terms: _Terms) -> None:
        if terms.settings["character_orientation"] != "image":
            return
        long, turned = (
            self.origin(cell, "duration_seconds"),
            self.origin(cell, "character_orientation"),
        )
        own = [path[: len(cell.path)] == cell.path for path in (long, turned)]
        where = turned if own[1] and not own[0] else long
        if long[0] == "defaults" and turned[0] != "defaults":
            where = turned
        said = (
            f"`duration_seconds: {terms.duration}` ",
            *_named(long, cell, own[0]),
            " with `character_orientation: image` ",
            *_named(turned, cell, own[1]),
            f": image orientation takes at most {DURATION_MAX_IMAGE} seconds",
        )
        hint = f"shorten it to {DURATION_MAX_IMAGE}, or use `character_orientation: video`"
        self.note(cell, Finding(where, said, hint), cell.id)

    def _bad_length(self, cell: Cell, length: int, job_id: str) -> None:
        if length == 0:
            said, hint = (
                "the prompt is empty once rendered",
                "the service needs at least one character",
            )
        else:
            said = f"the prompt has more than {PROMPT_MAX:,} characters once rendered"
            hint = "shorten it, or the variables in it"
        detail = f": {length:,}" if length else ""
        self.note(cell, finding(self.origin(cell, "prompt"), said, hint=hint), job_id, detail)

    def _bad_output(self, cell: Cell, output: str, job_id: str) -> None:
        fault = output_fault(output)
        if fault is None:
            return
        path: Path = ("output", "filename")
        if self.filename == DEFAULT_FILENAME:
            path = _id_path(cell)
        hint = "change `output.filename`" if path[0] == "output" else "give another `id:`"
        found = finding(path, f"the file name {fault}", hint=hint)
        self.note(cell, found, job_id, f": `{output[:80]}`")

    def findings(self) -> Iterator[Finding]:
        """What is wrong with jobs, each once."""
        for same in self._groups.values():
            found = same.finding
            if same.count > 1:
                breaks = f"{same.detail} (breaks {same.count:,} jobs, first `{same.first}`)"
            else:
                breaks = same.detail if found.path[-1] == "id" else (
                    f"{same.detail} (job `{same.first}`)"
                )  # fmt: skip
            yield Finding(
                found.path, (*found.said, breaks), found.hint,
                file=found.file, needle=found.needle, row=found.row,
            )  # fmt: skip
        for key, cells in self._lacking.items():
            yield self._lack(key, cells)

    def _lack(self, key: str, cells: list[Cell]) -> Finding:
        first = cells[0]
        if len(cells) == 1:
            said = f"this job has no `{key}`"
        else:
            said = f"{len(cells):,} pairs have no `{key}`, this one first"
        return Finding(first.path, (said,), _MENDS[key], file=first.file)


def _comes_of(fault: TemplateFault, doubts: Collection[str]) -> bool:
    """Whether the fault may come of a mistake that was told already."""
    name = fault.needle
    if not name:
        return not fault.row  # what has a line was seen in the template alone
    return name in doubts or name.partition(".")[0] in doubts


def _id_path(cell: Cell) -> Path:
    """Where the cell's id comes from."""
    return (*cell.path, "id") if cell.states_id else cell.path


def _named(path: Path, cell: Cell, own: bool) -> tuple[str | Line, ...]:
    shown = path_text(path if path[0] == "output" else path[:-1] or path)
    return (f"({shown}, line ", Line(path, cell.file if own else ""), ")")


def _input_scope(side: Input) -> dict[str, Any]:
    return {**side.variables, "name": side.name, "url": side.url}
