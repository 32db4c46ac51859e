"""The commands that may follow a run, as they are to be typed: nothing asked for is lost."""

from __future__ import annotations

from kling_batch.cli.surroundings import this_command
from kling_batch.cli.workspace import Workspace
from kling_batch.planning.plan import Wishes
from kling_batch.structs import dataclass


@dataclass(frozen=True, slots=True)
class Next:
    """Commands to the same service, within the same choice of jobs and the same limit.

    `resolve` are its words before the job's id, and those behind it.
    """

    run: str
    plan: str
    retry: str
    resolve: tuple[str, ...]


def next_commands(
    workspace: Workspace, manifest: str, wishes: Wishes, max_credits: int | None
) -> Next:
    """What may follow a run of this manifest."""
    limit = [] if max_credits is None else ["--max-credits", str(max_credits)]
    words = [word for one in (*wishes.only, *wishes.retry_ids) for word in ("--only", one)]
    if wishes.retry_failed or wishes.retry_ids:
        words.append("--retry-failed")
    if wishes.redo_changed:
        words.append("--redo-changed")
    words += [*limit, *workspace.words]
    return Next(
        run=this_command("run", manifest, *words),
        plan=this_command("plan", manifest, *words),
        retry=this_command("retry", manifest, *limit, *workspace.words),
        resolve=(manifest, *(["--simulate"] if workspace.simulated else [])),
    )
