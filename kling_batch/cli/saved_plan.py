"""A saved plan at the edge: written by `plan --out`, found and held to by `run`."""

from __future__ import annotations

import hashlib
import os
import shlex
from pathlib import Path

from kling_batch.cli.next_commands import next_commands
from kling_batch.cli.plan_view import iso
from kling_batch.cli.workspace import State, Workspace
from kling_batch.errors import UsageError
from kling_batch.files import sha256_of, write_whole
from kling_batch.planning.plan import Plan, Wishes
from kling_batch.planning.saved import SavedPlan, as_json, moved_on, read_saved, saved_jobs
from kling_batch.service.ledger import Ledger
from kling_batch.structs import dataclass

_HEAD = 256


@dataclass(frozen=True, slots=True)
class Approved:
    """A saved plan that was named to `run`: its file, its digest, its manifest as to be typed."""

    file: str
    digest: str
    manifest: str
    plan: SavedPlan

    def hold_to(self, plan: Plan, workspace: Workspace, state: State, ledger: Ledger) -> None:
        """Raise UsageError unless the plan made now is just the one approved, and not run yet.

        The ledger knows what was run, so that a lost state makes no plan good once more.
        """
        saved = self.plan
        after = next_commands(workspace, self.manifest, saved.wishes, saved.max_credits)
        go_on = f"to do what is left: {after.run}"
        anew = f"plan again: {after.plan} --out {shlex.quote(self.file)}"
        if ledger.has_run_plan(self.digest):
            raise UsageError(f"{self.file} was run already, and a plan is run once", go_on)
        present = freeze(plan, workspace, state, saved.wishes, saved.max_credits)
        stale = moved_on(saved, present)
        if stale is None:
            ledger.runs_plan(self.digest)
            return
        if stale.what == "service":
            anew = f"give the address that it was made for, or {anew}"
        if stale.what == "state":
            anew = f"{anew}; or, {go_on}"
        raise UsageError(f"{self.file} is stale: {stale.reason}", anew)


def freeze(
    plan: Plan, workspace: Workspace, state: State, wishes: Wishes, max_credits: int | None
) -> SavedPlan:
    """The plan with all that it rests on; `path` is set where it is written."""
    manifest = workspace.manifest
    return SavedPlan(
        created_at=iso(workspace.clock.now()) or "",
        name=manifest.name,
        path=str(manifest.source),
        sha256=sha256_of(manifest.source),
        serial=state.serial,
        simulated=workspace.simulated,
        service="the simulator" if workspace.simulated else workspace.address.url,
        contract=manifest.service.contract,
        submissions_per_hour=manifest.service.submissions_per_hour,
        max_in_flight=manifest.service.max_in_flight,
        pricing=manifest.pricing,
        budget=manifest.budget,
        wishes=wishes,
        max_credits=max_credits,
        jobs=saved_jobs(plan),
    )


def write_saved(saved: SavedPlan, file: Path) -> None:
    """Write it, over an earlier plan but over nothing else; raises UsageError."""
    import json

    from kling_batch.structs import replace

    try:
        if file.exists() and find_saved(str(file)) is None:
            raise UsageError(f"{file} is there and is no saved plan", "name another file")
        path = os.path.relpath(saved.path, file.parent)
        value = as_json(replace(saved, path=path))
        try:
            text = json.dumps(value, indent=1, ensure_ascii=False).encode()
        except UnicodeEncodeError:  # a file name that is no text
            text = json.dumps(value, indent=1).encode()
        write_whole(file, text + b"\n")
    except OSError as error:
        raise UsageError(
            f"{file} can't be written: {error.strerror}", "name another file"
        ) from None


def find_saved(name: str) -> Approved | None:
    """The saved plan in this file, told by what it holds; None for a manifest or no file.

    Raises UsageError for a plan that can't be used.
    """
    if name == "-":
        return None
    file = Path(name)
    try:
        with file.open("rb") as opened:
            if not opened.read(_HEAD).lstrip().startswith(b"{"):
                return None
            opened.seek(0)
            text = opened.read()
    except OSError:
        return None  # whoever reads it as a manifest says why it can't be read
    try:
        plan = read_saved(text)
    except UsageError as error:
        raise UsageError(f"{name}: {error.message}", error.hint) from None
    if plan is None:
        return None
    manifest = os.path.normpath(file.parent / plan.path)
    return Approved(name, hashlib.sha256(text).hexdigest(), manifest, plan)
