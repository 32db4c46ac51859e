"""`report`: the gallery page, written from the state file without disturbing a run."""

from __future__ import annotations

import hashlib
from pathlib import Path

from kling_batch.cli.console import say, show
from kling_batch.cli.surroundings import this_command
from kling_batch.clock import SystemClock
from kling_batch.errors import ExitCode, UsageError
from kling_batch.manifest.load import manifest_name
from kling_batch.report.page import PAGE, find_files, page_folder, write_report
from kling_batch.report.summary import Facts, summarize
from kling_batch.state.opening import reading, state_path


def command(manifest: str, *, out: str | None, open_page: bool, simulate: bool) -> ExitCode:
    """Write the page, print where it is, and open it where that is wanted."""
    source = Path(manifest)
    name = manifest_name(source)
    with reading(state_path(source.parent, name, simulated=simulate)) as store:
        records = list(store.records().values()) if store else []
    if not records:
        say(f"Nothing has been run yet. To begin: {this_command('run', manifest)}")
        return ExitCode.DONE
    folder = page_folder(name, (record.output for record in records), simulated=simulate)
    page = Path(out) if out else source.parent / folder / PAGE
    if not out and not page.parent.resolve().is_relative_to(source.parent.resolve()):
        raise UsageError(f"{page.parent} leads out of {source.parent}", "name a file with --out")
    facts = Facts(
        name=name,
        manifest=source.name,
        written_at=SystemClock().now(),
        simulated=simulate,
        key=page_key(source.parent, name, simulated=simulate),
    )
    write_report(page, summarize(records, facts, find_files(source.parent, page, records)))
    show(str(page))
    if open_page:
        _open(page)
    return ExitCode.DONE


def page_key(folder: Path, name: str, *, simulated: bool) -> str:
    """Tells this batch from others of its name in what a browser keeps; holds no path."""
    whole = f"{folder.absolute()}\0{name}\0{simulated}"
    return hashlib.blake2b(whole.encode(errors="replace"), digest_size=8).hexdigest()


def _open(page: Path) -> None:
    import webbrowser

    if not webbrowser.open(page.absolute().as_uri()):
        say("No browser could be opened; open the file by hand.")
