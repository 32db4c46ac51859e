"""`plan`: what a run would do, without network or key."""

from __future__ import annotations

import shutil
import sys

from kling_batch.cli.console import coloured, show, show_json
from kling_batch.cli.plan_view import plan_json, plan_text
from kling_batch.cli.surroundings import this_command
from kling_batch.cli.workspace import (
    look_at_account,
    look_at_records,
    make_plan,
    planning_workspace,
)
from kling_batch.errors import ExitCode
from kling_batch.planning.plan import Wishes


def command(
    manifest: str,
    *,
    wants_json: bool,
    check: bool,
    only: list[str],
    redo_changed: bool,
    max_credits: int | None,
    simulate: bool,
    base_url: str | None,
) -> ExitCode:
    """Print the plan; with `check`, say by the exit code whether there is anything to do."""
    workspace = planning_workspace(manifest, base_url, simulate)
    plan = make_plan(
        workspace,
        look_at_records(workspace),
        Wishes(only=tuple(only), redo_changed=redo_changed),
        look_at_account(workspace),
        max_credits,
    )
    if wants_json:
        show_json(plan_json(plan, workspace))
    else:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 160
        show("\n".join(plan_text(plan, workspace, width, coloured(sys.stdout))))
        if plan.anything_to_do:
            words = [manifest, "--simulate"] if simulate else [manifest]
            show(f"\nTo do it: {this_command('run', *words)}")
    if check and plan.anything_to_do:
        return ExitCode.CHANGES_PLANNED
    return ExitCode.DONE
