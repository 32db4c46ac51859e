"""`plan`: what a run would do, without network or key."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from kling_batch.cli.console import coloured, dollars, say, show, show_json, width_of
from kling_batch.cli.plan_view import plan_json, plan_text
from kling_batch.cli.planner import make_plan
from kling_batch.cli.surroundings import this_command
from kling_batch.cli.workspace import (
    State,
    Workspace,
    look_at_account,
    look_at_state,
    planning_workspace,
)
from kling_batch.collector import paused
from kling_batch.errors import ExitCode, UsageError
from kling_batch.planning.plan import Plan, Wishes
from kling_batch.structs import dataclass


@dataclass(frozen=True, slots=True)
class Asked:
    """The flags that decide what is planned."""

    only: list[str]
    retry_failed: bool
    redo_changed: bool
    max_credits: int | None
    simulate: bool
    base_url: str | None

    @property
    def wishes(self) -> Wishes:
        """What the user asked for beyond the manifest."""
        return Wishes(tuple(self.only), self.retry_failed, (), self.redo_changed)

    def words(self) -> list[str]:
        """The same flags for a `run`, as typed."""
        words = [word for glob in self.only for word in ("--only", glob)]
        if self.retry_failed:
            words.append("--retry-failed")
        if self.redo_changed:
            words.append("--redo-changed")
        if self.max_credits is not None:
            words += ["--max-credits", str(self.max_credits)]
        return [*words, *(["--simulate"] if self.simulate else []), *self.address_words()]

    def address_words(self) -> list[str]:
        """The flag for the address, where it was given."""
        return ["--base-url", self.base_url] if self.base_url else []


def command(
    manifests: list[str],
    *,
    wants_json: bool,
    check: bool,
    out: str | None,
    against: str | None,
    **flags: Any,
) -> ExitCode:
    """Print the plans; with `check`, say by the exit code whether there is anything to do."""
    asked = Asked(**flags)
    if against is not None:
        from kling_batch.cli.against import compare

        if out is not None or asked.words() != asked.address_words():
            raise UsageError(
                "--against compares two manifests whole", "leave out the flags of a run and --out"
            )
        return compare(manifests, against, asked.base_url, wants_json=wants_json, check=check)
    if out == "-":
        raise UsageError("--out names a file, and `-` is none", "a plan on stdout: --json")
    if out is not None and (len(manifests) > 1 or manifests[0] == "-"):
        raise UsageError("--out saves the plan of one manifest's file", "name one")
    with paused():
        plans = [_plan(name, asked) for name in manifests]
    if wants_json:
        told = [plan_json(plan, workspace) for plan, workspace, _ in plans]
        show_json(told[0] if len(told) == 1 else told)
    else:
        for number, (plan, workspace, _) in enumerate(plans):
            if number:
                show("")
            show("\n".join(plan_text(plan, workspace, width_of(sys.stdout), coloured(sys.stdout))))
        _show_sum(plans)
    work = any(plan.anything_to_do for plan, _, _ in plans)
    if out is not None:
        _save(plans[0], asked, Path(out), say if wants_json else show)
    elif work and not wants_json:
        show(f"\nTo do it: {this_command('run', *manifests, *asked.words())}")
    return ExitCode.CHANGES_PLANNED if check and work else ExitCode.DONE


Planned = tuple[Plan, Workspace, State]


def _plan(name: str, asked: Asked) -> Planned:
    workspace = planning_workspace(name, asked.base_url, asked.simulate)
    state = look_at_state(workspace)
    account = look_at_account(workspace)
    plan = make_plan(workspace, state, asked.wishes, account, asked.max_credits)
    return plan, workspace, state


def _show_sum(plans: list[Planned]) -> None:
    credits = sum(plan.credits for plan, _, _ in plans)
    if len(plans) > 1 and credits:
        from decimal import Decimal

        priced = [workspace.manifest.pricing.usd(plan.credits) for plan, workspace, _ in plans]
        usd = sum(priced, Decimal(0))
        show(f"\nIn all {len(plans)} manifests: {credits:,} credits (about {dollars(usd)})")


def _save(planned: Planned, asked: Asked, file: Path, tell: Any) -> None:
    from kling_batch.cli.saved_plan import freeze, write_saved

    plan, workspace, state = planned
    write_saved(freeze(plan, workspace, state, asked.wishes, asked.max_credits), file)
    run = this_command("run", str(file), *asked.address_words())
    tell(f"\nSaved. To do just this, without a question: {run}")
