"""Workers: how many there are, which one is next, and what arrives."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from kling_batch.execution.workers import Workers

PATIENCE = 30.0


def take(workers: Workers, count: int = 1) -> None:
    for _ in range(count):
        workers.arrivals.get(timeout=PATIENCE)()


def who(into: list[int]) -> tuple[Callable[[], int], Callable[[int], None]]:
    return threading.get_ident, into.append


def test_one_call_after_another_is_made_by_the_same_worker() -> None:
    workers, idents = Workers(4), list[int]()
    for _ in range(5):
        workers.start(*who(idents))
        take(workers)
    assert len(set(idents)) == 1
    assert idents[0] != threading.get_ident()


def test_there_are_as_many_as_are_needed_and_no_more_than_may_be() -> None:
    workers, idents, at_once = Workers(3), list[int](), threading.Barrier(3)

    def together() -> int:
        at_once.wait(PATIENCE)
        return threading.get_ident()

    for _ in range(3):
        workers.start(together, idents.append)
    for _ in range(2):  # these wait for a worker that is done
        workers.start(*who(idents))
    take(workers, 5)
    assert len(idents) == 5
    assert len(set(idents)) == 3


def test_what_waits_is_called_in_its_order() -> None:
    workers, done, begin = Workers(1), list[int](), threading.Event()
    workers.start(lambda: begin.wait(PATIENCE), lambda _: None)
    for number in range(4):
        workers.start(lambda number=number: number, done.append)  # type: ignore[misc]
    begin.set()
    take(workers, 5)
    assert done == [0, 1, 2, 3]


@pytest.mark.parametrize("count", [0, 1])
def test_what_a_call_raises_arrives_and_its_worker_goes_on(count: int) -> None:
    workers, idents = Workers(count), list[int]()

    def fails() -> int:
        raise OSError("gone")

    workers.start(fails, idents.append)
    with pytest.raises(OSError, match="gone"):
        take(workers)
    workers.start(*who(idents))
    take(workers)
    assert len(idents) == 1


def test_with_none_a_call_is_made_at_once() -> None:
    workers, idents = Workers(0), list[int]()
    workers.start(*who(idents))
    take(workers)
    assert idents == [threading.get_ident()]
