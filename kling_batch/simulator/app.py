"""The service's stand-in as one function: request in, response out, over memory and a clock."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from email.utils import formatdate
from hmac import compare_digest
from urllib.parse import parse_qs

from kling_batch.clock import Clock
from kling_batch.model import Contract
from kling_batch.service.transport import HttpRequest, HttpResponse, Transport
from kling_batch.simulator import answers, media
from kling_batch.simulator.account import Account, HistoryMode, NotEnoughCredits
from kling_batch.simulator.actions import NO_EFFECT, Effect
from kling_batch.simulator.answers import json_answer, refusal
from kling_batch.simulator.faults import Call, FaultScript, firing
from kling_batch.simulator.fields import Refused, parse_json, read_submission
from kling_batch.simulator.jobs import Charge, SimulatedJob, Stage
from kling_batch.simulator.outcome import Reply, arrive
from kling_batch.simulator.results import Shelf, StoredFile, serve_file
from kling_batch.simulator.routes import KEYED, POLLS, SUBMISSIONS, Route, Target, find

HISTORY_LIMIT, HISTORY_LIMIT_MAX = 20, 100
DEFAULT_HOST = "127.0.0.1"


class Simulator:
    """A service of one account. Thread-safe: one lock around everything.

    ``key``: the only one accepted; None: any. ``submissions_per_hour``: None switches the limit
    off. ``job_seconds``: how long a job takes, give or take 30 %. ``public_url``: where result
    links point; by default the host that the request named. What ``faults`` says of history and
    service goes over the other arguments.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        balance: int = 10_000,
        key: str | None = None,
        submissions_per_hour: int | None = 24,
        job_seconds: float = 75.0,
        seed: int = 0,
        history: HistoryMode | None = None,
        faults: FaultScript | None = None,
        public_url: str = "",
    ) -> None:
        script = faults or FaultScript()
        settings = script.settings
        self._clock = clock
        self._lock = threading.Lock()
        self._key: str | None = settings.over("key", key)
        self._account = Account(
            clock,
            balance=settings.over("balance", balance),
            submissions_per_hour=settings.over("submissions_per_hour", submissions_per_hour),
            job_seconds=settings.over("job_seconds", job_seconds),
            seed=settings.over("seed", seed),
        )
        self._history = script.history or history or HistoryMode()
        self._public_url = public_url.rstrip("/")
        self._shelves: dict[str, Shelf] = {}
        self._log: Counter[tuple[str, str]] = Counter()
        self.script(script)

    @property
    def clock(self) -> Clock:
        return self._clock

    @property
    def balance(self) -> int:
        with self._lock:
            return self._account.balance

    @property
    def ledger(self) -> tuple[Charge, ...]:
        """Every job that was charged, oldest first."""
        with self._lock:
            return self._account.ledger()

    @property
    def requests(self) -> Mapping[tuple[str, str], int]:
        """How many calls came in, by method and route (``("POST", "generate")``)."""
        with self._lock:
            return Counter(self._log)

    def remember(self, charges: Iterable[Charge]) -> None:
        """Take over the jobs of an earlier stand-in, so that what it began can be resumed."""
        with self._lock:
            for charge in charges:
                self._account.remember(charge)

    def top_up(self, credits: int) -> None:
        with self._lock:
            self._account.top_up(credits)

    def script(self, faults: FaultScript) -> None:
        """Take these rules from now on, with fresh counts, and the history where it is stated."""
        with self._lock:
            self._rules = faults.rules
            self._counts = [0] * len(faults.rules)
            self._history = faults.history or self._history

    def handle(self, request: HttpRequest) -> HttpResponse:
        """Answer in process; raises NothingSent or Unanswered where a scripted fault says so."""
        return arrive(self.reply(request), request, self._clock)

    def reply(self, request: HttpRequest) -> Reply:
        """Decide the answer and its way; what both transports share."""
        target = find(request.path)
        with self._lock:
            self._log[request.method, target.route.value] += 1
            effect = self._scripted(request, target)
            if effect.before:
                answer = effect.instead or HttpResponse(503)
            else:
                answer = self._guarded(request, target, effect)
            return Reply(self._dated(effect.instead or answer), effect.delivery)

    def _dated(self, answer: HttpResponse) -> HttpResponse:
        """The answer with the service's own time, which a fault may have set otherwise."""
        headers = {"date": formatdate(self._account.now(), usegmt=True), **answer.headers}
        return HttpResponse(answer.status, headers, answer.body)

    def _scripted(self, request: HttpRequest, target: Target) -> Effect:
        if not self._rules:
            return NO_EFFECT
        about: tuple[str, ...] = ()
        stage = None
        if target.route in SUBMISSIONS:
            about = _prompt_of(request.body)
        elif job := self._account.job(target.name):
            about, stage = (job.id, job.request.prompt), self._account.stage(job)
        call = Call(target.route, about, stage)
        return firing(self._rules, self._counts, call) or NO_EFFECT

    def _guarded(self, request: HttpRequest, target: Target, effect: Effect) -> HttpResponse:
        """The checks that come before any work, in the order of the service's framework."""
        if target.slash_missing:
            path, _, query = request.path.partition("?")
            location = f"{path}/?{query}" if query else f"{path}/"
            return HttpResponse(301, {"location": location})
        if target.route is Route.UNKNOWN:
            return refusal(404, "Not found")
        if request.method not in target.methods:
            return refusal(405, "Method not allowed", allow=", ".join(target.methods))
        if target.route in KEYED and not self._key_fits(request.headers.get("authorization", "")):
            return refusal(401, "Invalid or missing API key", www_authenticate="Bearer")
        return self._answer(request, target, effect)

    def _key_fits(self, authorization: str) -> bool:
        """``Bearer KEY``, ``Token KEY`` and the bare key are all accepted."""
        word, _, rest = authorization.strip().partition(" ")
        key = rest.strip() if word.lower() in ("bearer", "token") else authorization.strip()
        if self._key is None:
            return key != ""
        return compare_digest(key.encode(errors="replace"), self._key.encode())

    def _answer(self, request: HttpRequest, target: Target, effect: Effect) -> HttpResponse:
        route = target.route
        if route in SUBMISSIONS:
            return self._submit(request, route, effect)
        if route in POLLS:
            return self._status(request, target, effect)
        if route is Route.HISTORY:
            return self._recent(request, target)
        if route is Route.RESULT:
            return self._result(request, target, effect)
        if route is Route.INPUT:
            return _input(request, target)
        if route is Route.LEDGER:
            return self._books()
        if route is Route.TOP_UP:
            return self._top_up(request)
        return answers.models()

    def _submit(self, request: HttpRequest, route: Route, effect: Effect) -> HttpResponse:
        wait = self._account.throttle()
        if wait is not None:
            return refusal(429, f"Rate limit: free in {wait} seconds", retry_after=str(wait))
        contract: Contract = "canonical" if route is Route.GENERATE else "legacy"
        try:
            wanted = read_submission(
                request.body, request.headers.get("content-type", ""), contract
            )
            known = self._account.first_job()
            made = self._account.submit(wanted, contract, effect.twist)
        except Refused as refused:
            return refusal(refused.status, refused.reason)
        except NotEnoughCredits:
            return refusal(402, "Not enough credits")
        told = [job.id for job in made]
        if effect.ids is not None:
            told = [] if effect.ids == "none" else [(known or made[0]).id]
        if contract == "canonical":
            return answers.accepted(told, self._account.balance)
        return answers.legacy_accepted(made[0], told[0] if told else None)

    def _status(self, request: HttpRequest, target: Target, effect: Effect) -> HttpResponse:
        job = self._account.job(target.name)
        if job is None:
            return refusal(404, "Job not found")
        content: dict[str, object]
        if target.route is Route.STATUS:
            content = {"success": True, "job": self._told(job, request, effect)}
            shown: object = content["job"]
        else:
            content = shown = answers.legacy_generation(
                job,
                self._account.stage(job),
                self._account.refunded(job),
                self._links(job, request, effect),
                job.progress(self._account.now()),
            )
        if effect.status_word is not None and isinstance(shown, dict):
            shown["status"] = effect.status_word
        return json_answer(200, content)

    def _told(
        self, job: SimulatedJob, request: HttpRequest, effect: Effect = NO_EFFECT
    ) -> dict[str, object]:
        stage = self._account.stage(job)
        refunded = self._account.refunded(job)
        return answers.canonical_job(job, stage, refunded, self._links(job, request, effect))

    def _links(self, job: SimulatedJob, request: HttpRequest, effect: Effect) -> list[str]:
        if effect.no_urls or self._account.stage(job) is not Stage.COMPLETED:
            return []
        base = self._public_url or f"http://{request.headers.get('host', DEFAULT_HOST)}"
        return [self._shelf(job.id).link(base, job.id)]

    def _shelf(self, job: str) -> Shelf:
        return self._shelves.setdefault(job, Shelf())

    def _recent(self, request: HttpRequest, target: Target) -> HttpResponse:
        if self._history.absent:
            return refusal(404, "Not found")
        asked = parse_qs(target.query)
        limit = _whole(asked, "limit", HISTORY_LIMIT, 1, HISTORY_LIMIT_MAX)
        offset = _whole(asked, "offset", 0, 0, None)
        told = []
        for job in self._account.newest(self._history, offset, limit):
            shown = self._told(job, request)
            told.append({"prompt": job.request.prompt, **shown} if self._history.prompts else shown)
        return json_answer(200, {"success": True, "jobs": told})

    def _result(self, request: HttpRequest, target: Target, effect: Effect) -> HttpResponse:
        job = self._account.job(target.name)
        if job is None or self._account.stage(job) is not Stage.COMPLETED:
            return refusal(404, "Not found")
        shelf = self._shelf(job.id)
        shelf.expired = shelf.expired or effect.expire
        shelf.revision += effect.etag_changes
        if not shelf.opens(job.id, target.query):
            return refusal(403, "The link has expired")
        file = StoredFile(
            media.mp4(job.request.duration_seconds, job.seed + shelf.revision),
            "video/mp4",
            f"{job.id}:{shelf.revision}",
            job.finished_at,
        )
        return serve_file(file, request.headers, ignore_range=effect.ignore_range)

    def _books(self) -> HttpResponse:
        counts = {f"{method} {route}": count for (method, route), count in self._log.items()}
        charges = [answers.ledger_line(charge) for charge in self._account.ledger()]
        content = {"balance": self._account.balance, "charges": charges, "requests": counts}
        return json_answer(200, content)

    def _top_up(self, request: HttpRequest) -> HttpResponse:
        try:
            credits = parse_json(request.body)["credits"]
        except (ValueError, KeyError, TypeError):
            credits = None
        if type(credits) is not int:
            return refusal(400, "credits must be a whole number")
        self._account.top_up(credits)
        return json_answer(200, {"success": True, "balance": self._account.balance})


def as_transport(simulator: Simulator) -> Transport:
    """The simulator as the HTTP seam that clients in this process take."""
    return simulator.handle


def _prompt_of(body: bytes) -> tuple[str, ...]:
    """The prompt of a body that may be anything: for fault rules, before any check."""
    try:
        prompt = parse_json(body)["prompt"]
    except (ValueError, KeyError, TypeError):
        return ()
    return (prompt,) if isinstance(prompt, str) else ()


def _whole(
    asked: Mapping[str, list[str]], name: str, default: int, least: int, most: int | None
) -> int:
    """A query number within its bounds; the default where it is none, as the framework does."""
    text = asked.get(name, [""])[-1]
    if not (text.isascii() and text.isdecimal()) or len(text) > 9 or int(text) < least:
        return default
    return int(text) if most is None else min(int(text), most)


def _input(request: HttpRequest, target: Target) -> HttpResponse:
    """A picture or a clip for any name, always the same one."""
    if target.name.endswith(".png"):
        content, kind = media.png(target.name), "image/png"
    else:
        content, kind = media.clip(target.name), "video/mp4"
    return serve_file(StoredFile(content, kind, target.name, 0.0), request.headers)
