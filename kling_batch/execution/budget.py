"""What may still be spent, and whether a charge fits the price that was approved. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from kling_batch.model import Budget
from kling_batch.service.contracts import RemoteJob
from kling_batch.state.records import Record
from kling_batch.structs import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of a run, in credits. None: no bound."""

    max_credits: int | None = None
    min_balance: int | None = None


def limits_of(budget: Budget, max_credits: int | None) -> Limits:
    """The manifest's budget and the command line's, the tighter one of each."""
    bounds = [one for one in (budget.max_credits, max_credits) if one is not None]
    return Limits(min(bounds, default=None), budget.min_balance)


def committed(records: Iterable[Record]) -> int:
    """Credits spent: charged, in flight or perhaps charged, less confirmed refunds."""
    return sum(record.committed for record in records)


def refusal(price: int, spent: int, balance: int | None, limits: Limits) -> str:
    """Why a submission of this price must not be made; empty when it may."""
    if limits.max_credits is not None and spent + price > limits.max_credits:
        return (
            f"the budget is reached: {spent} of {limits.max_credits} credits are spent or in"
            f" flight, and the next job costs {price}"
        )
    if limits.min_balance is not None and balance is not None:
        left = balance - price
        if left < limits.min_balance:
            return (
                f"the balance of {balance} credits would fall to {left},"
                f" under the {limits.min_balance} to keep"
            )
    return ""


def wrong_charge(record: Record, seconds_made: int | None) -> str:
    """How a charge shows that the rate table is wrong; empty when it does not.

    A charge is right when it is as planned, or lower and just the rate times the seconds that
    the service says it made.
    """
    charged, planned = record.credits_charged, record.credits_planned
    if charged is None or charged == planned:
        return ""
    rate = planned // record.request.duration_seconds
    if charged < planned and seconds_made and charged == rate * seconds_made:
        return ""
    return (
        f"{record.id} was charged {charged} credits where {planned} were planned:"
        " the plan was approved at another price"
    )


def refund_of(remote: RemoteJob, planned: int) -> int | None:
    """Credits that came back; None where the service does not say."""
    if remote.refunded is True:
        return planned if remote.credits_charged is None else remote.credits_charged
    if remote.refunded is False:
        return 0
    return remote.refunded
