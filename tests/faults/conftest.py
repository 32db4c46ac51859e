"""What a machine must allow for these tests: skipped where it does not, required in CI."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from harness import (
    REQUIRED,
    Commits,
    Making,
    Site,
    a_site,
    commits_around_the_post,
    small_disk,
    strace_refused,
)


def refused(reason: str) -> None:
    """Skip with the reason, or fail where no test may be skipped."""
    if REQUIRED:
        pytest.fail(f"KLING_BATCH_REQUIRE_FAULTS is set, but {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def strace_answer(tmp_path_factory: pytest.TempPathFactory) -> str:
    return strace_refused(tmp_path_factory.mktemp("strace"))


@pytest.fixture
def strace(strace_answer: str) -> None:
    """For tests that tamper with system calls."""
    if strace_answer:
        refused(f"system calls can't be tampered with: {strace_answer}")


@pytest.fixture(scope="session")
def commits(
    strace_answer: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Commits, Commits]:
    """The writes of a one-job run that make the commits of its intent and of its answer."""
    if strace_answer:
        refused(strace_answer)
    with a_site(tmp_path_factory.mktemp("commits")) as whole:
        return commits_around_the_post(whole)


@pytest.fixture
def mounting(tmp_path: Path) -> None:
    """For tests that need a small disk."""
    try:
        with small_disk(tmp_path / "tried", 64):
            pass
    except OSError as error:
        refused(f"a small disk can't be mounted: {error}")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """One job and a service without faults."""
    with a_site(tmp_path) as made:
        yield made


@pytest.fixture
def make_site(tmp_path: Path) -> Making:
    """Sites with the faults and the number of jobs that a test asks for."""

    def make(jobs: int = 1, **settings: Any) -> AbstractContextManager[Site]:
        return a_site(tmp_path, jobs, **settings)

    return make
