"""Every error that a user can meet: what happened, what to do, and the exit code.

    KlingBatchError                 message, hint, exit code
    ├── UsageError              2   wrong flags, a file that can't be read
    │   └── ManifestInvalid     2   the manifest has problems (`manifest.problems`)
    ├── KeyRefused              5   the key is missing or refused
    ├── StateHeld               6   another run holds this state or account
    ├── ServiceStopped          7   the service can't be reached or answers nonsense
    ├── StateUnusable           9   the state file is damaged, newer, or another manifest's
    └── Declined               10   the answer to the question was no

What is not in this tree and reaches the edge is a bug (exit code 70).
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What the process says at its end; scripts depend on these numbers."""

    DONE = 0
    JOBS_FAILED = 1
    USAGE = 2
    OUTCOME_UNKNOWN = 3
    BUDGET = 4
    KEY = 5
    HELD = 6
    STOPPED = 7
    CHANGES_PLANNED = 8
    STATE = 9
    DECLINED = 10
    BUG = 70
    INTERRUPTED = 130


class KlingBatchError(Exception):
    """An error that a person can mend: one line of what happened, one of what to do."""

    exit_code: ExitCode = ExitCode.USAGE

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(KlingBatchError):
    """Wrong flags, or a file that can't be read or written."""


class KeyRefused(KlingBatchError):
    """The key is missing, malformed or refused by the service."""

    exit_code = ExitCode.KEY


class StateHeld(KlingBatchError):
    """Another living process holds this state or this account."""

    exit_code = ExitCode.HELD


class ServiceStopped(KlingBatchError):
    """The service can't be reached, or its answers make no sense."""

    exit_code = ExitCode.STOPPED


class StateUnusable(KlingBatchError):
    """The state file is damaged, newer than this program, or another manifest's."""

    exit_code = ExitCode.STATE


class Declined(KlingBatchError):
    """The user did not say yes; nothing was sent."""

    exit_code = ExitCode.DECLINED
