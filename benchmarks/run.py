"""What the program adds to its calls: durable commits, and a job in `run` beyond a bare pool.

    python benchmarks/run.py [transitions] [overhead] [--jobs 500 10000]

`transitions`: commits of one job's record and one line of history, against the same statements
of sqlite3 with nothing around them; and with 16 workers that wait until theirs is durable.
`overhead`: `run` on a simulator in a process of its own, jobs done at once and no hourly limit,
against 16 threads of `requests` that make the same calls and write the same files.
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
from pathlib import Path

from measure import line

from kling_batch.model import JobRequest
from kling_batch.state import store as store_module
from kling_batch.state.opening import Identity, writing
from kling_batch.state.records import JobState, Record
from kling_batch.state.store import Happening, Store

ROUNDS, BATCH, WORKERS = 9, 1_600, 16
ALONE, TOGETHER, OVERHEAD = 0.95, 3.3, 1.2
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
        for _ in range(ROUNDS):
            for name, way in ways.items():
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


def _raw(store: Store, records: list[Record]) -> None:
    """The statements of a transition and their commits, prepared, with nothing around them."""
    db = store.connection
    rows = [store_module._row(record) for record in records]
    for row in rows:
        db.execute("BEGIN IMMEDIATE")
        db.execute(store_module._UPSERT, row)
        db.execute(store_module._TELL, (1.0, row[0], "processing", "{}"))
        db.execute("COMMIT")


def _alone(store: Store, records: list[Record]) -> None:
    for record in records:
        store.save((record,), (Happening(1.0, "processing", record.id),))


def _together(store: Store, records: list[Record]) -> None:
    """Sixteen threads, each handing its next transition over when its last one is durable."""
    arrivals: queue.SimpleQueue[tuple[Record, threading.Lock]] = queue.SimpleQueue()
    shares = [records[n::WORKERS] for n in range(WORKERS)]

    def work(share: list[Record]) -> None:
        durable = threading.Lock()
        durable.acquire()
        for record in share:
            arrivals.put((record, durable))
            durable.acquire()

    threads = [threading.Thread(target=work, args=(share,), daemon=True) for share in shares]
    for thread in threads:
        thread.start()
    left = len(records)
    while left:
        waiting = [arrivals.get()]
        with store.together():
            while True:
                record, _ = waiting[-1]
                store.save((record,), (Happening(1.0, "processing", record.id),))
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
from kling_batch.clock import SystemClock
from kling_batch.simulator.app import Simulator
from kling_batch.simulator.server import serve
simulator = Simulator(
    SystemClock(), balance=10**9, submissions_per_hour=None, job_seconds=0.001
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
service: {max_in_flight: 64}
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
import requests, filelock
url, path = sys.argv[1], sys.argv[2]
workspace = Workspace(
    read_source(path, private_urls=True), Address(url), SystemClock(), simulated=True
)
manner = Manner(True, False, True, False, None, None, False, 0.001, 600.0, None, None)
wall, cpu = time.perf_counter(), time.process_time()
code = run_batch(workspace, path, Wishes(), manner)
print(time.perf_counter() - wall, time.process_time() - cpu)
sys.exit(int(code))
"""
BARE = """
import os, queue, sys, threading, time
import requests
url, count, folder = sys.argv[1], int(sys.argv[2]), sys.argv[3]
os.makedirs(folder)
numbers = queue.SimpleQueue()
for number in range(count):
    numbers.put(number)
def work():
    session = requests.Session()
    session.trust_env = False
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
        made = session.post(api + "generate/", json=body, timeout=60).json()["job_ids"][0]
        while True:
            job = session.get(api + f"status/{made}/", timeout=60).json()["job"]
            if job["status"] == "completed":
                break
        link = job["result_urls"][0]
        with requests_plain.get(link, stream=True, timeout=60) as answer:
            with open(f"{folder}/{number}.mp4", "wb") as file:
                for piece in answer.iter_content(65536):
                    file.write(piece)
requests_plain = requests.Session()
requests_plain.trust_env = False
wall, cpu = time.perf_counter(), time.process_time()
threads = [threading.Thread(target=work) for _ in range(16)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(time.perf_counter() - wall, time.process_time() - cpu)
"""
JOBS = (500, 10_000)


def overhead(folder: Path, env: Mapping[str, str], rounds: int = 3) -> None:
    """CPU and wall of a job in `run`, by a bare pool's, for few and for many jobs."""
    each: dict[int, tuple[float, float]] = {}
    for count in JOBS:
        costs: dict[str, list[tuple[float, float]]] = {"ours": [], "bare": []}
        for _ in range(rounds if count < 1_000 else 1):
            for name in costs:
                costs[name].append(_jobs(Path(tempfile.mkdtemp(dir=folder)), env, name, count))
        for index, what in enumerate(("wall", "CPU")):
            ours, bare = (statistics.median(c[index] for c in costs[n]) for n in ("ours", "bare"))
            shown = [f"{1000 * took / count:.2f} ms a job" for took in (ours, bare)]
            line(f"run {count:,} jobs, {what}, by a bare pool", *shown, ours / bare, OVERHEAD)
        each[count] = statistics.median(c[1] / count for c in costs["ours"]), 0.0
    few, many = (each[count][0] for count in JOBS)
    shown = [f"{1000 * took:.2f} ms a job" for took in (many, few)]
    line("run 10,000 jobs, CPU, by 500", *shown, many / few, 1.1)


def _jobs(folder: Path, env: Mapping[str, str], name: str, count: int) -> tuple[float, float]:
    """Wall and CPU seconds of these jobs, on a service begun for them."""
    python = sys.executable
    with subprocess.Popen(
        [python, "-c", SERVICE], env=env, stdout=subprocess.PIPE, text=True
    ) as service:
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
            done = subprocess.run(words, env=env, check=True, stdout=subprocess.PIPE, text=True)
        finally:
            service.kill()
    wall, cpu = done.stdout.split()[-2:]
    return float(wall), float(cpu)
