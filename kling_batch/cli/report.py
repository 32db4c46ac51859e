"""`report`: the gallery page, written from the state file without disturbing a run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from kling_batch.cli.console import say, show
from kling_batch.cli.surroundings import this_command
from kling_batch.clock import SystemClock
from kling_batch.errors import ExitCode, KlingBatchError, UsageError
from kling_batch.files import is_below
from kling_batch.manifest.load import load_manifest, manifest_name
from kling_batch.model import Manifest
from kling_batch.report.live import LivePage
from kling_batch.report.page import PAGE, find_copies, find_files, page_folder, write_report
from kling_batch.report.summary import Facts, Report, summarize
from kling_batch.state.opening import Identity, check_owner, reading, state_path
from kling_batch.state.records import Record
from kling_batch.structs import replace

if TYPE_CHECKING:
    from kling_batch.cli.workspace import Workspace


def command(manifest: str, *, out: str | None, open_page: bool, simulate: bool) -> ExitCode:
    """Write the page, print where it is, and open it where that is wanted."""
    source = Path(manifest)
    name = manifest_name(source)
    with reading(state_path(source.parent, name, simulated=simulate)) as store:
        if store:
            check_owner(store, Identity(name, source.name))
        records = store.records() if store else {}
    if not records:
        say(f"Nothing has been run yet. To begin: {this_command('run', manifest)}")
        return ExitCode.DONE
    valid = _read_where_valid(source)
    page = Path(out) if out else source.parent / _folder(name, records, valid, simulate) / PAGE
    if not out:
        _check_inside(page, source.parent)
    facts = Facts(
        name=name,
        manifest=source.name,
        written_at=SystemClock().now(),
        simulated=simulate,
        key=_key(source.parent, name, simulate),
        usd_per_credit=valid.pricing.usd_per_credit if valid else None,
    )
    decisions = valid.decisions if valid else {}
    write_report(page, _look(source.parent, page, records, facts, decisions))
    show(str(page))
    if open_page:
        _open(page)
    return ExitCode.DONE


def live_page(workspace: Workspace, records: Mapping[str, Record]) -> LivePage:
    """The page of a run, made from the records that the run keeps up to date."""
    manifest, page = workspace.manifest, workspace.output_directory / PAGE

    def look() -> Report:
        _check_inside(page, manifest.directory)
        facts = Facts(
            name=manifest.name,
            manifest=manifest.source.name,
            written_at=workspace.clock.now(),
            simulated=workspace.simulated,
            key=_key(manifest.directory, manifest.name, workspace.simulated),
            usd_per_credit=manifest.pricing.usd_per_credit,
        )
        return _look(manifest.directory, page, records, facts, manifest.decisions)

    return LivePage(page, look, workspace.clock)


def _look(
    folder: Path,
    page: Path,
    records: Mapping[str, Record],
    facts: Facts,
    decisions: Mapping[str, str],
) -> Report:
    kept = list(records.values())
    facts = replace(facts, copies=find_copies(page, kept))
    return summarize(kept, facts, find_files(folder, page, kept), decisions)


def _read_where_valid(source: Path) -> Manifest | None:
    """The manifest for its prices, decisions and output folder; the page can do without."""
    try:
        return load_manifest(source, private_urls=True)
    except KlingBatchError:
        return None


def _folder(
    name: str, records: Mapping[str, Record], manifest: Manifest | None, simulated: bool
) -> str:
    if manifest is None:
        return page_folder(name, (one.output for one in records.values()), simulated=simulated)
    below = manifest.output_directory.relative_to(manifest.directory).as_posix()
    return f"{below}/simulated" if simulated else below


def _check_inside(page: Path, folder: Path) -> None:
    # A link in the way may lead out of the folder.
    if not is_below(page.parent, folder):
        raise UsageError(f"{page.parent} leads out of {folder}", "name a file with --out")


def _key(folder: Path, name: str, simulated: bool) -> str:
    """Tells this batch from others of its name in what a browser keeps; holds no path."""
    whole = f"{folder.absolute()}\0{name}\0{simulated}"
    return hashlib.blake2b(whole.encode(errors="replace"), digest_size=8).hexdigest()


def _open(page: Path) -> None:
    import webbrowser

    if not webbrowser.open(page.absolute().as_uri()):
        say("No browser could be opened; open the file by hand.")
