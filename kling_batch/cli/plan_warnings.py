"""What a plan warns of before it is approved."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kling_batch.cli.console import clock_time, count
from kling_batch.cli.workspace import Account, State, Workspace
from kling_batch.execution.budget import committed, limits_of
from kling_batch.planning.plan import Action, Plan
from kling_batch.state.records import IN_FLIGHT

RATES_OLD_AFTER_DAYS = 90


def plan_warnings(
    workspace: Workspace, plan: Plan, state: State, account: Account, max_credits: int | None
) -> tuple[str, ...]:
    """One sentence for each thing that a look at the jobs alone would not tell."""
    return (
        *_old_rates(workspace),
        *_other_service(workspace, state),
        *_budget(workspace, plan, state, max_credits),
        *_balance(workspace, plan, account),
        *_lost_in_flight(plan),
    )


def _old_rates(workspace: Workspace) -> Iterator[str]:
    as_of = workspace.manifest.pricing.as_of
    if as_of is None:
        return
    from datetime import date

    age = (date.fromtimestamp(workspace.clock.now()) - as_of).days
    if age > RATES_OLD_AFTER_DAYS:
        yield f"the rates are of {as_of}, {age} days ago: look whether they still hold"


def _other_service(workspace: Workspace, state: State) -> Iterator[str]:
    here = workspace.address.url
    if state.service is not None and state.service != here and not workspace.simulated:
        yield (
            f"this state was made against {state.service}, and this is {here}:"
            " jobs in flight there are not known here"
        )


def _budget(
    workspace: Workspace, plan: Plan, state: State, max_credits: int | None
) -> Iterator[str]:
    limit = limits_of(workspace.manifest.budget, max_credits).max_credits
    if limit is None or not plan.credits:
        return
    spent = committed(state.records.values())
    if spent + plan.credits > limit:
        yield (
            f"the budget of {limit:,} credits does not reach: {spent:,} are spent"
            f" and {plan.credits:,} planned; submitting will stop there"
        )


def _balance(workspace: Workspace, plan: Plan, account: Account) -> Iterator[str]:
    """How far the balance last seen reaches, in the order in which the jobs are submitted."""
    balance, keep = account.balance, workspace.manifest.budget.min_balance or 0
    if balance is None:
        return
    prices = [one.credits for one in plan.having(Action.SUBMIT)]
    if sum(prices) <= balance.credits - keep:
        return
    seen = clock_time(balance.seen_at, workspace.clock.now())
    kept = f" ({keep:,} are to be kept)" if keep else ""
    yield (
        f"the balance last seen, {balance.credits:,} credits at {seen}{kept}, pays for"
        f" {affordable(prices, balance.credits - keep)} of {count(len(prices), 'job')}"
    )


def affordable(prices: Sequence[int], credits: int) -> int:
    """How many of the jobs can be paid for, one after another, until the first that can not."""
    for number, price in enumerate(prices):
        credits -= price
        if credits < 0:
            return number
    return len(prices)


def _lost_in_flight(plan: Plan) -> Iterator[str]:
    lost = [
        one.id
        for one in plan.having(Action.ORPHAN)
        if one.record is not None and one.record.state in IN_FLIGHT
    ]
    if lost:
        yield (
            f"{', '.join(lost[:3])}{' and others' if len(lost) > 3 else ''} in flight, but no"
            " longer in the manifest: put back to fetch what was paid for"
        )
