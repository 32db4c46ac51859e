"""The service as the rest sees it: submit once, ask, list; each answer already judged."""

from __future__ import annotations

from collections.abc import Callable

from kling_batch.model import JobRequest
from kling_batch.service.contracts import ContractShape, RemoteJob, history_path
from kling_batch.service.outcomes import (
    HistoryPage,
    SubmissionOutcome,
    Untold,
    judge_history,
    judge_status,
    judge_submission,
)
from kling_batch.service.transport import (
    HttpRequest,
    HttpResponse,
    NothingSent,
    Transport,
    Unanswered,
)


class Service:
    """One contract over one transport. `now` gives wall time, for dates in Retry-After."""

    def __init__(
        self, contract: ContractShape, transport: Transport, now: Callable[[], float]
    ) -> None:
        self.contract = contract
        self._transport = transport
        self._now = now

    def submit(self, request: JobRequest) -> SubmissionOutcome:
        """One POST. It spends credits; call it once for one committed intent."""
        result = self._call(self.contract.submission(request))
        return judge_submission(self.contract, result, self._now())

    def status(self, job_id: str) -> RemoteJob | Untold:
        """The job as it stands."""
        result = self._call(HttpRequest("GET", self.contract.status_path(job_id)))
        return judge_status(self.contract, job_id, result, self._now())

    def history(self, offset: int) -> HistoryPage | Untold:
        """The account's jobs from the offset on, newest first, at most `HISTORY_PAGE`."""
        result = self._call(HttpRequest("GET", history_path(offset)))
        return judge_history(result, self._now())

    def _call(self, request: HttpRequest) -> HttpResponse | NothingSent | Unanswered:
        try:
            return self._transport(request)
        except (NothingSent, Unanswered) as failure:
            return failure
