"""What the program adds to its calls: durable commits, and a job in `run` beyond a bare pool.

    python benchmarks/plan.py transitions run

`transitions`: commits of one job's record and one line of history, against the same statements
of sqlite3 with nothing around them; and with 16 workers that wait until theirs is durable.
`overhead`: `run` on a simulator in a process of its own without an hourly limit, against 16
threads of `requests`, written as everyone does, that make the same calls (counted there; a POST
has its own connection on both sides) and write the same files. Jobs are asked for as often as
real ones, and there is time to answer; what a simulator at its limit makes of it is reported too.
"""

from __future__ import annotations

import queue
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

import requests
from measure import line

from kling_batch.model import JobRequest
from kling_batch.state import store as store_module
from kling_batch.state.opening import Identity, writing
from kling_batch.state.records import JobState, Record
from kling_batch.state.store import Happening, Store

ROUNDS, BATCH, WORKERS = 15, 1_600, 16
ALONE, TOGETHER, OVERHEAD, FLAT = 0.95, 3.3, 1.2, 1.1
HERE = Path(__file__).parent


# -- transitions -----------------------------------------------------------------------------------


def transitions(folder: Path) -> None:
    """Commits a second: sqlite3's own, ours, and ours with sixteen workers waiting."""
    place = Path(tempfile.mkdtemp(dir=folder))
    ways: dict[str, Callable[..., None]] = {"raw": _raw, "alone": _alone, "together": _together}
    rates: dict[str, list[float]] = {name: [] for name in ways}
    with writing(place / "ours.db", Identity("bench", "bench.yaml"), 0.0) as store:
        records = _records(BATCH)
        store.save(records, [])
        for turn in range(ROUNDS):
            # Each goes first in turn: a checkpoint of what one wrote may fall to the next.
            order = [*ways.items()]
            for name, way in order[turn % 3 :] + order[: turn % 3]:
                started = time.perf_counter()
                way(store, records)
                rates[name].append(BATCH / (time.perf_counter() - started))
    raw = statistics.median(rates["raw"])
    texts = {"alone": "durable transitions alone, by raw", "together": "with 16 workers waiting"}
    for name, least in (("alone", ALONE), ("together", TOGETHER)):
        # Of each round: the disk is not equally quick from one to the next.
        pairs = zip(rates[name], rates["raw"], strict=True)
        ratio = statistics.median(ours / base for ours, base in pairs)
        rate = statistics.median(rates[name])
        line(texts[name], f"{rate:,.0f}/s", f"{raw:,.0f}/s", ratio, least, at_least=True)


def _records(count: int) -> list[Record]:
    prompt, image, video = "a slow dance " * 20, "https://a.b/c.png", "https://a.b/c.mp4"
    request = JobRequest(prompt, image, video, "video", "720p", 5)
    state = JobState.SUBMITTED
    return [
        Record(f"job-{n:05}", f"{n:032x}", request, state, f"out/{n}.mp4", 60, job_id=f"j{n}")
        for n in range(count)
    ]


Transition = tuple[Record, Happening]


def _with_happenings(records: list[Record]) -> list[Transition]:
    return [(record, Happening(1.0, "processing", record.id)) for record in records]


def _raw(store: Store, records: list[Record]) -> None:
    """A transition as one would write it by hand: the row, the event, the commit; prepared."""
    db = store.connection
    rows = [store_module._row(record) for record in records]
    for row in rows:
        db.execute("BEGIN IMMEDIATE")
        db.execute(store_module._UPSERT, row)
        db.execute(store_module._TELL, (1.0, row[0], "processing", "{}"))
        db.execute("COMMIT")


def _alone(store: Store, records: list[Record]) -> None:
    for record, told in _with_happenings(records):
        store.save((record,), (told,))


def _together(store: Store, records: list[Record]) -> None:
    """Sixteen threads, each handing its next transition over when its last one is durable."""
    arrivals: queue.SimpleQueue[tuple[Transition, threading.Lock]] = queue.SimpleQueue()
    shares = [_with_happenings(records[n::WORKERS]) for n in range(WORKERS)]

    def work(share: list[Transition]) -> None:
        durable = threading.Lock()
        durable.acquire()
        for transition in share:
            arrivals.put((transition, durable))
            durable.acquire()

    threads = [threading.Thread(target=work, args=(share,), daemon=True) for share in shares]
    for thread in threads:
        thread.start()
    left = len(records)
    while left:
        waiting = [arrivals.get()]
        with store.together():
            while True:
                (record, told), _ = waiting[-1]
                store.save((record,), (told,))
                try:
                    waiting.append(arrivals.get_nowait())
                except queue.Empty:
                    break
        left -= len(waiting)
        for _, durable in waiting:
            durable.release()
    for thread in threads:
        thread.join()


# -- overhead --------------------------------------------------------------------------------------

SERVICE = """
import sys
from kling_batch.clock import SystemClock
from kling_batch.simulator.app import Simulator
from kling_batch.simulator.server import serve
simulator = Simulator(
    SystemClock(), balance=10**9, submissions_per_hour=None, job_seconds=float(sys.argv[1])
)
with serve(simulator) as server:
    print(server.url, flush=True)
    server.wait()
"""
MANIFEST = """\
version: 1
defaults: {quality_mode: 720p, duration_seconds: 3}
images: {knight: "https://cdn.example.com/knight.png"}
videos: {waltz: "https://cdn.example.com/waltz.mp4"}
service: {max_in_flight: 16}
pairs:
"""
# Both print the seconds of the clock and of the processor that the jobs took, imports left out.
OURS = """
import sys, time
from kling_batch.cli.assembly import Manner
from kling_batch.cli.run import run_batch
from kling_batch.cli.sources import read_source
from kling_batch.cli.surroundings import Address
from kling_batch.cli.workspace import Workspace
from kling_batch.clock import SystemClock
from kling_batch.planning.plan import Wishes
import gc, requests
import kling_batch.cli.run
gc.set_threshold(100_000, 20, 20)  # as the console script does
kling_batch.cli.run.draw_inputs = lambda *_: None  # pictures, where there is no internet
url, path, pause = sys.argv[1], sys.argv[2], float(sys.argv[3])
workspace = Workspace(
    read_source(path, private_urls=True), Address(url), SystemClock(), simulated=True
)
manner = Manner(True, False, True, False, None, None, False, pause, 600.0, None, None)
wall, cpu = time.perf_counter(), time.process_time()
code = run_batch(workspace, path, Wishes(), manner)
print(time.perf_counter() - wall, time.process_time() - cpu)
sys.exit(int(code))
"""
BARE = """
import os, queue, sys, threading, time
import requests
url, count, folder, pause = sys.argv[1], int(sys.argv[2]), sys.argv[3], float(sys.argv[4])
os.makedirs(folder)
numbers = queue.SimpleQueue()
for number in range(count):
    numbers.put(number)
def work():
    session = requests.Session()
    session.headers["authorization"] = "Bearer any"
    api = url + "/api/v1/video-studio/"
    while True:
        try:
            number = numbers.get_nowait()
        except queue.Empty:
            return
        body = {
            "model_slug": "kling_3_0_motion_control",
            "input_image_urls": ["https://cdn.example.com/knight.png"],
            "input_video_urls": ["https://cdn.example.com/waltz.mp4"],
            "prompt": f"number {number}", "character_orientation": "video",
            "quality_mode": "720p", "duration_seconds": 3,
        }
        once = {"connection": "close"}  # a POST into a connection that died has no known outcome
        answer = session.post(api + "generate/", json=body, headers=once, timeout=60)
        made = answer.json()["job_ids"][0]
        while True:
            time.sleep(pause)
            job = session.get(api + f"status/{made}/", timeout=60).json()["job"]
            if job["status"] == "completed":
                break
        link = job["result_urls"][0]
        with requests_plain.get(link, stream=True, timeout=60) as answer:
            with open(f"{folder}/{number}.mp4", "wb") as file:
                for piece in answer.iter_content(65536):
                    file.write(piece)
requests_plain = requests.Session()
wall, cpu = time.perf_counter(), time.process_time()
threads = [threading.Thread(target=work) for _ in range(16)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(time.perf_counter() - wall, time.process_time() - cpu)
"""
JOBS = (500, 10_000)


@dataclass(frozen=True, slots=True)
class Pace:
    """How long the stand-in's jobs take (30 % about), and how long both sides wait to ask."""

    job_seconds: float
    pause: float


# The service's jobs take a minute or two; a run asks at four fifths of that, then every ten
# seconds: two or three times. At once: one question each, as fast as the simulator answers: its
# processor is the wall then, and that one job is submitted after the other.
AS_REAL, AT_ONCE = Pace(0.3, 0.15), Pace(0.001, 0.001)


@dataclass(frozen=True, slots=True)
class Jobs:
    """What a number of jobs took: seconds of the clock and of the processor, and calls."""

    wall: float
    cpu: float
    calls: int


def overhead(folder: Path, env: Mapping[str, str], rounds: int = 7) -> None:
    """CPU and wall of a job in `run`, by a bare pool's, for few and for many jobs."""
    few = _compared(folder, env, JOBS[0], AS_REAL, rounds, OVERHEAD)
    many = _compared(folder, env, JOBS[1], AS_REAL, 1, OVERHEAD)
    for name, of in (("CPU", attrgetter("cpu")), ("wall", attrgetter("wall"))):
        each = [of(took) / count for took, count in zip((many, few), JOBS[::-1], strict=True)]
        shown = [f"{1000 * one:.2f} ms a job" for one in each]
        line(f"run {JOBS[1]:,} jobs, {name}, by {JOBS[0]}", *shown, each[0] / each[1], FLAT)
    _compared(folder, env, JOBS[0], AT_ONCE, 3, None)


def _compared(
    folder: Path, env: Mapping[str, str], count: int, pace: Pace, rounds: int, goal: float | None
) -> Jobs:
    """Both sides in turns; returns what ours took. The ratio is of each round: machines vary."""
    took: dict[str, list[Jobs]] = {"ours": [], "bare": []}
    for _ in range(rounds):
        for name, jobs in took.items():
            jobs.append(_jobs(Path(tempfile.mkdtemp(dir=folder)), env, name, count, pace))
    ours, bare = (
        Jobs(*(statistics.median(getattr(one, of) for one in took[name]) for of in Jobs.__slots__))
        for name in took
    )
    said = f"{count:,} jobs, {ours.calls / count:.1f} calls each (bare {bare.calls / count:.1f})"
    for what, of in (("CPU", attrgetter("cpu")), ("wall", attrgetter("wall"))):
        shown = [f"{1000 * of(one) / count:.2f} ms a job" for one in (ours, bare)]
        pairs = zip(took["ours"], took["bare"], strict=True)
        ratio = statistics.median(of(one) / of(other) for one, other in pairs)
        line(f"run {said}, {what}", *shown, ratio, goal)
    return ours


def _jobs(folder: Path, env: Mapping[str, str], name: str, count: int, pace: Pace) -> Jobs:
    """What these jobs take on a service begun for them."""
    python = sys.executable
    command = [python, "-c", SERVICE, str(pace.job_seconds)]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as service:
        try:
            assert service.stdout is not None
            url = service.stdout.readline().strip()
            path = folder / "batch.yaml"
            pairs = (
                f"  - {{id: j{n}, image: knight, video: waltz, prompt: number {n}}}\n"
                for n in range(count)
            )
            path.write_text(MANIFEST + "".join(pairs))
            words = {
                "ours": [python, "-c", OURS, url, str(path)],
                "bare": [python, "-c", BARE, url, str(count), str(folder / "bare")],
            }[name]
            words.append(str(pace.pause))
            done = subprocess.run(words, env=env, check=True, stdout=subprocess.PIPE, text=True)
            counts = requests.get(f"{url}/simulator/ledger", timeout=60).json()["requests"]
        finally:
            service.kill()
    wall, cpu = done.stdout.split()[-2:]
    return Jobs(float(wall), float(cpu), sum(counts.values()))
