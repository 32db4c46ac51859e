"""The real program in a process of its own, against a service whose ledger the tests can read."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import kling_batch
from kling_batch.clock import SystemClock
from kling_batch.files import sha256_of
from kling_batch.service.transport import HttpRequest
from kling_batch.simulator.app import Simulator
from kling_batch.simulator.faults import FaultScript
from kling_batch.simulator.outcome import Reply
from kling_batch.simulator.server import serve
from kling_batch.state.opening import reading, state_path
from kling_batch.state.records import JobState, Record

KEY = "ulazai_live_of_the_fault_tests"
REQUIRED = os.environ.get("KLING_BATCH_REQUIRE_FAULTS") == "1"  # nothing may be skipped
PATIENCE = 25.0  # seconds after which a process or a wait counts as hung


class Service(Simulator):
    """The stand-in, which also keeps every call and tells a listener before it answers."""

    def __init__(self, **settings: Any) -> None:
        settings = {"job_seconds": 0.2, "submissions_per_hour": None, **settings}
        super().__init__(SystemClock(), **settings)
        self.calls: list[HttpRequest] = []
        self.listener: Callable[[HttpRequest], None] = lambda _: None

    def reply(self, request: HttpRequest) -> Reply:
        self.calls.append(request)
        reply = super().reply(request)
        self.listener(request)
        return reply

    @property
    def posts(self) -> int:
        return sum(request.method == "POST" for request in self.calls)

    def at_post(self, number: int, act: Callable[[], object]) -> threading.Event:
        """Do this when that POST was acted upon and is not yet answered."""
        done = threading.Event()

        def listen(request: HttpRequest) -> None:
            if request.method == "POST" and self.posts == number:
                act()
                done.set()

        self.listener = listen
        return done


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended; the code is negative where a signal ended it."""

    code: int
    out: str
    err: str


@dataclass(slots=True)
class Site:
    """One folder with one manifest; `home` holds the account's ledger, so sites may share it."""

    folder: Path
    url: str
    service: Service
    home: Path
    temporary: Path
    name: str = "batch"
    program: Sequence[str] = (sys.executable, "-m", "kling_batch")
    flags: Sequence[str] = ("--poll-interval", "0.1", "--reconcile-wait", "0.5")
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.temporary.mkdir(parents=True, exist_ok=True)

    # -- the manifest --------------------------------------------------------------------------

    def write(self, jobs: int, extra: str = "", *, seconds: int = 5, takes: int = 1) -> None:
        """A manifest of that many pairs, each asking for `takes` videos of so many seconds."""
        self.folder.mkdir(parents=True, exist_ok=True)
        pairs = "".join(
            f"  - {{id: {self.name}{i}, image: knight, video: waltz,"
            f" prompt: 'number {i} of {self.name}', takes: {takes}}}\n"
            for i in range(1, jobs + 1)
        )
        self.manifest.write_text(
            f"version: 1\nname: {self.name}\n"
            f"defaults: {{quality_mode: 720p, duration_seconds: {seconds}}}\n"
            'images: {knight: "https://cdn.example.com/knight.png"}\n'
            'videos: {waltz: "https://cdn.example.com/waltz.mp4"}\n'
            f"{extra or 'service: {submissions_per_hour: 3600}'}\npairs:\n{pairs}"
        )

    @property
    def manifest(self) -> Path:
        return self.folder / f"{self.name}.yaml"

    @property
    def state_file(self) -> Path:
        return state_path(self.folder, self.name)

    @property
    def log(self) -> Path:
        """Where the state's commits are written first."""
        return self.state_file.with_name(f"{self.state_file.name}-wal")

    @property
    def outputs(self) -> Path:
        return self.folder / "outputs" / self.name

    # -- processes -----------------------------------------------------------------------------

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(Path(kling_batch.__file__).parents[1]),
            "HOME": str(self.home),
            "XDG_STATE_HOME": str(self.home / "state"),
            "TMPDIR": str(self.temporary),
            "ULAZAI_API_KEY": KEY,
            "ULAZAI_BASE_URL": self.url,
        }

    def start(self, *words: str, before: Sequence[str] = (), **how: Any) -> subprocess.Popen[str]:
        """Start the program; by default `run`, with the plan approved."""
        words = words or ("run", self.manifest.name, "--yes", *self.flags)
        how = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **how}
        process = subprocess.Popen(
            [*before, *self.program, *words],
            cwd=self.folder,
            env=self.environment,
            stdin=how.pop("stdin", subprocess.DEVNULL),
            text=True,
            **how,
        )
        self.started.append(process)
        return process

    def run(self, *more: str, before: Sequence[str] = ()) -> Ended:
        """One run from its start to its end."""
        words = ("run", self.manifest.name, "--yes", *self.flags, *more)
        return finished(self.start(*words, before=before))

    def call(self, *words: str) -> Ended:
        """Any command of the program."""
        return finished(self.start(*words))

    def end_all(self) -> None:
        """End what this site started and what is still there."""
        for process in self.started:
            if process.poll() is None:
                process.kill()
            for stream in (process.stdout, process.stderr):
                if stream is not None:
                    stream.close()
            process.wait(PATIENCE)

    # -- what is on record -----------------------------------------------------------------------

    def records(self) -> dict[str, Record]:
        with reading(self.state_file) as store:
            return store.records() if store else {}

    def states(self) -> dict[str, str]:
        return {record.id: record.state.value for record in self.records().values()}

    def intents(self) -> Counter[str]:
        """How often a request was on record as being sent, by fingerprint."""
        return Counter(row[0] for row in self.rows("SELECT fingerprint FROM attempts"))

    def told(self, event: str) -> int:
        """How often this happened, by the state's own history."""
        return len(self.rows("SELECT name FROM events WHERE name = ?", event))

    def rows(self, query: str, *values: object) -> list[Any]:
        with reading(self.state_file) as store:
            return store.connection.execute(query, values).fetchall() if store else []

    def charges(self) -> Counter[str]:
        """How often this site's requests were charged, by fingerprint; one POST, one charge."""
        ours = [one for one in self.service.ledger if one.prompt.endswith(f" of {self.name}")]
        assert len({one.submission for one in ours}) == len(ours)
        return Counter(one.request.fingerprint() for one in ours)

    # -- what must hold ------------------------------------------------------------------------

    def assert_money_is_safe(self) -> None:
        """After any fault: the state is sound, no intent was charged twice, no charge is hidden."""
        if not self.state_file.exists():
            assert not self.charges()
            return
        assert self.rows("PRAGMA integrity_check") == [("ok",)]
        intents = self.intents()
        assert all(intents[request] >= count for request, count in self.charges().items())
        records = self.records().values()
        known = {record.job_id for record in records}
        open_intents = Counter(r.fingerprint for r in records if r.state is JobState.UNKNOWN)
        unrecorded = Counter(
            one.request.fingerprint()
            for one in self.service.ledger
            if one.job_id not in known and one.prompt.endswith(f" of {self.name}")
        )
        assert all(open_intents[request] >= count for request, count in unrecorded.items())

    def assert_done(self, jobs: int) -> None:
        """Every job was charged once, its video is in its place, and nothing else is left of it."""
        self.assert_money_is_safe()
        records = self.records()
        assert self.states() == dict.fromkeys(records, "downloaded")
        assert len(records) == jobs
        assert sum(self.charges().values()) == jobs
        assert len({record.job_id for record in records.values()}) == jobs
        for record in records.values():
            assert sha256_of(self.folder / record.output) == record.sha256
        hidden = [path.name for path in self.outputs.iterdir() if path.name.startswith(".")]
        left = [name for name in hidden if not name.startswith(".index.html.")]
        assert left == []

    def resume(self, jobs: int, *more: str) -> Ended:
        """The same command again brings the batch to its end."""
        self.assert_money_is_safe()
        ended = self.run(*more)
        assert ended.code == 0, ended.err
        self.assert_done(jobs)
        return ended


@contextmanager
def a_site(folder: Path, jobs: int = 1, *, name: str = "batch", **settings: Any) -> Iterator[Site]:
    """A site with a service of its own. `faults` are rules as the simulator reads them."""
    faults = settings.pop("faults", None)
    script = FaultScript.read(faults) if faults else None
    home = settings.pop("home", folder / "home")
    temporary = settings.pop("temporary", folder / "tmp")
    service = Service(faults=script, **settings)
    with serve(service) as server:
        site = Site(folder / name, server.url, service, home, temporary, name)
        site.write(jobs)
        try:
            yield site
        finally:
            site.end_all()


def finished(process: subprocess.Popen[str]) -> Ended:
    """Wait for the process's end and take what it said."""
    out, err = process.communicate(timeout=PATIENCE)
    return Ended(process.returncode, out or "", err or "")


def until(holds: Callable[[], object]) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.005)


# -- faults in system calls ----------------------------------------------------------------------


def strace_refused(folder: Path) -> str:
    """Why system calls can't be tampered with here; empty where they can."""
    strace = shutil.which("strace")
    if strace is None:
        return "strace is not installed"
    tried = subprocess.run(
        [strace, "-f", "-o", folder / "tried", "-e", "inject=chdir:error=ENOSPC:when=1", "true"],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    return tried.stderr.strip() if tried.returncode else ""


def tampering(
    log: Path, calls: str, fault: str = "", when: str = "", path: Path | None = None
) -> list[str]:
    """The command before a program whose system calls are traced, the `when`-th with the fault.

    Only calls on `path` count where one is given. Each thread counts for itself.
    """
    words = ["strace", "-f", "-qq", "-y", "-s", "16", "-o", str(log), "-e", f"trace={calls}"]
    if path is not None:
        words += ["-P", str(path)]
    if fault:
        words += ["-e", f"inject={calls}:{fault}:when={when}"]
    return words


KILL, FULL = "signal=KILL", "error=ENOSPC"


@dataclass(frozen=True, slots=True)
class Commits:
    """Which writes and syncs of the state's log make a commit: their numbers, from 1."""

    writes: tuple[int, ...]
    sync: int


def commits_around_the_post(site: Site) -> tuple[Commits, Commits]:
    """The commits of the intent and of the answer, found by tracing one whole run."""
    log = site.temporary / "whole-run.trace"
    calls = "pwrite64,fdatasync,sendto,recvfrom"
    assert site.run(before=tampering(log, calls)).code == 0
    writes = syncs = 0
    batches: list[Commits] = []
    pending: list[int] = []
    posted = answered = None
    for line in log.read_text().splitlines():
        if "sendto" in line and '"POST ' in line:
            posted = len(batches)
        elif "recvfrom" in line and '"HTTP/' in line and answered is None:
            answered = len(batches)
        elif f"<{site.log}>" in line and "pwrite64(" in line:
            writes += 1
            pending.append(writes)
        elif f"<{site.log}>" in line and "fdatasync(" in line:
            syncs += 1
            batches.append(Commits(tuple(pending), syncs))
            pending = []
    assert posted is not None
    assert answered == posted
    return batches[posted - 1], batches[posted]


def count_calls(log: Path, call: str) -> int:
    """The most calls of this name that one thread made."""
    threads = Counter(re.findall(rf"^(\d+) +{call}\(", log.read_text(), re.MULTILINE))
    return max(threads.values(), default=0)


# -- small disks -----------------------------------------------------------------------------------


@contextmanager
def small_disk(folder: Path, kibibytes: int) -> Iterator[Path]:
    """A disk of that size at this folder; raises OSError where mounting is refused."""
    folder.mkdir(parents=True, exist_ok=True)
    _mount("-t", "tmpfs", "-o", f"size={kibibytes}k", "tmpfs", str(folder))
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True, timeout=PATIENCE)


def enlarge(folder: Path, kibibytes: int) -> None:
    """Make room on a small disk."""
    _mount("-o", f"remount,size={kibibytes}k", str(folder))


def _mount(*words: str) -> None:
    mount = shutil.which("mount")
    if mount is None:
        raise OSError("mount is not installed")
    done = subprocess.run([mount, *words], capture_output=True, text=True, timeout=PATIENCE)
    if done.returncode:
        raise OSError(done.stderr.strip())


def fill(disk: Path, leave: int) -> Path:
    """Fill the disk but for so many bytes; removing the file that is returned makes room again."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        free = shutil.disk_usage(disk).free
        file.write(b"\0" * max(free - leave, 0))
    return ballast


def send(process: subprocess.Popen[str], numbers: Iterable[signal.Signals]) -> None:
    """Send these signals, where the process still is."""
    for number in numbers:
        if process.poll() is None:
            process.send_signal(number)


Making = Callable[..., AbstractContextManager[Site]]
