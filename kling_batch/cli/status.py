"""`status`: what stands where, read from the state file without disturbing a run."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path
from typing import Any

from kling_batch.cli.console import coloured, say, show, show_json
from kling_batch.cli.sources import STDIN
from kling_batch.cli.status_view import status_json, status_text
from kling_batch.cli.surroundings import this_command
from kling_batch.clock import SystemClock
from kling_batch.errors import ExitCode, UsageError
from kling_batch.manifest.decisions import stated_decisions
from kling_batch.manifest.load import manifest_name
from kling_batch.service.ledger import Balance, Ledger
from kling_batch.state.opening import Identity, check_owner, reading, state_path
from kling_batch.state.records import IN_FLIGHT, JobState, Record
from kling_batch.structs import dataclass

REFRESH_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Look:
    """What one manifest's state says at a moment."""

    manifest: str
    name: str
    records: list[Record]
    balance: Balance | None
    decisions: dict[str, str]


def command(manifests: list[str], *, wants_json: bool, watch: bool, simulate: bool) -> ExitCode:
    """Print the status; with `watch`, again and again until nothing is under way."""
    if watch and "-" in manifests:
        raise UsageError("--watch reads its manifest again and again", "name its file, not `-`")
    while True:
        looks = [_look(manifest, simulate) for manifest in manifests]
        if wants_json:
            told = [_look_json(look) for look in looks]
            show_json(told[0] if len(told) == 1 else told)
        else:
            _show(looks, in_place=watch and sys.stdout.isatty())
        if not watch or not any(_under_way(look.records) for look in looks):
            return ExitCode.DONE
        time.sleep(REFRESH_SECONDS)


def _look(manifest: str, simulate: bool) -> Look:
    source, text = Path(manifest), None
    if manifest == "-":
        source, text = STDIN, sys.stdin.buffer.read()
    name = manifest_name(source, text)
    with reading(state_path(source.parent, name, simulated=simulate)) as store:
        if store and text is None:
            check_owner(store, Identity(name, source.name))
        records = store.standing() if store else []
        ledger = store.meta("ledger") if store else None
    return Look(manifest, name, records, _balance(ledger), stated_decisions(source, text))


def _look_json(look: Look) -> dict[str, Any]:
    folder = Path(look.manifest).parent
    return status_json(look.name, folder, look.records, look.balance, look.decisions)


def _show(looks: list[Look], *, in_place: bool) -> None:
    """The tables; in place, they are written over those before, within the window as it is now."""
    size = shutil.get_terminal_size()
    width = size.columns if sys.stdout.isatty() else 160
    rows_max = max(size.lines // len(looks) - 5, 3) if in_place else None
    lines: list[str] = []
    for look in looks:
        if not look.records:
            begin = this_command("run", look.manifest)
            say(f"Nothing has been run yet. To begin: {begin}")
            continue
        if lines:
            lines.append("")
        lines += status_text(
            look.name,
            look.records,
            look.balance,
            look.decisions,
            width,
            coloured(sys.stdout),
            rows_max,
        )
    if not lines:
        return
    if not in_place:
        show("\n".join(lines))
        return
    # Line by line over the old table, then clear what is left of it: no flicker.
    sys.stdout.write("\x1b[H" + "".join(f"{line}\x1b[K\n" for line in lines) + "\x1b[J")
    sys.stdout.flush()


def _under_way(records: list[Record]) -> bool:
    moving = IN_FLIGHT | {JobState.PLANNED, JobState.COMPLETED}
    return any(record.state in moving for record in records)


def _balance(ledger_file: str | None) -> Balance | None:
    """The balance last seen of the account that this state was last run with."""
    if ledger_file is None or not Path(ledger_file).exists():
        return None
    ledger = Ledger(Path(ledger_file), SystemClock())
    try:
        return ledger.balance()
    finally:
        ledger.close()
