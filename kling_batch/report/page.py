"""The page itself: one HTML file without anything from elsewhere, put in place whole."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from kling_batch.errors import UsageError
from kling_batch.files import write_whole
from kling_batch.report.charts import spending_chart, state_chart
from kling_batch.report.summary import TROUBLED, Found, Report
from kling_batch.report.text import thousands
from kling_batch.state.records import JobState, Record

PAGE = "index.html"
_MARK = b'<meta name="generator" content="kling-batch">'
_HEAD_BYTES = 2048


def page_folder(name: str, outputs: Iterable[str], *, simulated: bool = False) -> str:
    """Where a batch's page lies below the manifest's folder, told by its records' outputs.

    That is `outputs/NAME`, or the folder that all results share where the manifest names another.
    """
    usual = f"outputs/{name}/simulated" if simulated else f"outputs/{name}"
    folders = {output.rpartition("/")[0] for output in outputs}
    if not folders or any(f"{folder}/".startswith(f"{usual}/") for folder in folders):
        return usual
    return os.path.commonpath(folders) if all(folders) else ""


def find_files(directory: Path, page: Path, records: Iterable[Record]) -> dict[str, Found]:
    """The videos and receipts that are there, by job id, as seen from the page."""
    folders: dict[str, tuple[str, frozenset[str]]] = {}
    found = {}
    for record in records:
        if record.state is not JobState.DOWNLOADED:
            continue
        folder, _, name = record.output.rpartition("/")
        if folder not in folders:
            folders[folder] = _look(directory / folder, page.parent)
        way, names = folders[folder]
        # The receipt's second name stands where a file of the user's had the first.
        receipts = (f"{record.id}.{(record.job_id or '')[:8]}.json", f"{record.id}.json")
        receipt = next((one for one in receipts if one in names), "")
        found[record.id] = Found(
            video=f"{way}{name}" if name in names else "",
            receipt=f"{way}{receipt}" if receipt else "",
        )
    return found


def copy_name(url: str, suffix: str) -> str:
    """The name of an input's copy beside the page, told by its URL alone."""
    return f"inputs/{hashlib.blake2b(url.encode(), digest_size=8).hexdigest()}{suffix}"


def find_copies(page: Path, records: Iterable[Record]) -> dict[str, str]:
    """The inputs that have a copy beside the page: the way to it, by their URL."""
    _, names = _look(page.parent / "inputs", page.parent)
    copies = {}
    for record in records:
        request = record.request
        for url, suffix in ((request.image_url, ".png"), (request.video_url, ".mp4")):
            if names and (way := copy_name(url, suffix)).rpartition("/")[2] in names:
                copies[url] = way
    return copies


def _look(folder: Path, page: Path) -> tuple[str, frozenset[str]]:
    """The way from the page to the folder, and the names in it."""
    try:
        names = frozenset(os.listdir(folder))  # noqa: PTH208 -- names alone, and many
    except OSError:
        names = frozenset()
    way = Path(os.path.relpath(folder.absolute(), page.absolute())).as_posix()
    return ("" if way == "." else f"{way}/"), names


def write_report(path: Path, report: Report) -> None:
    """Put the page in its place; raises UsageError where a file of the user's has that name."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not _is_ours(path):
            raise UsageError(
                f"{path} is no page of kling-batch: it is left as it is",
                "name another file with --out, or move that one away",
            )
        write_whole(path, render(report).encode(errors="replace"))
    except OSError as error:
        raise UsageError(
            f"{path} can't be written: {error.strerror or error}", "name another file with --out"
        ) from error


def _is_ours(path: Path) -> bool:
    """Whether this name is free, or holds a page that was written before."""
    try:
        with path.open("rb") as file:
            return _MARK in file.read(_HEAD_BYTES)
    except FileNotFoundError:
        return True


def render(report: Report) -> str:
    """The page as HTML."""
    script, style = _part("page.js"), _part("page.css")
    return _template().render(
        report=report,
        policy=_policy(script, style),
        script=Markup(script),  # noqa: S704 -- the package's own file
        style=Markup(style),  # noqa: S704 -- the package's own file
        data=_data(report),
        spending=spending_chart(report),
        states=state_chart(report.totals.by_state),
        troubled={state.value for state in TROUBLED},
    )


def _policy(script: str, style: str) -> str:
    """Nothing runs or styles but what the page brings; nothing is sent; media may be looked at."""
    return (
        "default-src 'none'; base-uri 'none'; form-action 'none';"
        f" script-src 'sha256-{_digest(script)}'; style-src 'sha256-{_digest(style)}';"
        " img-src 'self' file: data: http: https:; media-src 'self' file: http: https:"
    )


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _data(report: Report) -> Markup:
    """What the script needs, as JSON that can't end its element."""
    value: Mapping[str, Any] = {
        "key": report.facts.key or report.facts.name,
        "manifest": report.facts.manifest,
        "decisions": dict(report.decisions),
    }
    text = json.dumps(value, ensure_ascii=True)
    return Markup(re.sub("[<>&]", lambda found: f"\\u{ord(found[0]):04x}", text))  # noqa: S704


@cache
def _part(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8").strip()


@cache
def _template() -> Template:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["thousands"] = thousands
    return environment.from_string(_part("template.html"))
