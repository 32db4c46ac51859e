"""Interrupted by a person, a system or a terminal (row 28): what is being sent is on record."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from subprocess import Popen

import pytest
from harness import Making, Site, finished, until

SLOW = {"on": "submit", "nth": 1, "act": "after", "do": {"delay": 0.6}}
VERY_SLOW = {"on": "submit", "nth": 1, "act": "after", "do": {"delay": 8.0}}
# Makes its standard input the controlling terminal, as a shell does, and becomes the program.
ON_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
    " os.execv(sys.argv[1], sys.argv[1:])"
)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_ends_the_run_once_what_is_being_sent_is_recorded(
    make_site: Making, number: signal.Signals
) -> None:
    with make_site(3, faults=[SLOW]) as site:
        process = site.start()
        site.service.at_post(1, lambda: process.send_signal(number)).wait(20)
        ended = finished(process)
        assert ended.code == 130
        assert "kling-batch run batch.yaml" in ended.err
        assert site.states() == {"batch1": "submitted", "batch2": "planned", "batch3": "planned"}
        assert site.service.posts == 1
        site.resume(3)


@pytest.mark.parametrize(
    "numbers", [(signal.SIGINT, signal.SIGINT), (signal.SIGTERM, signal.SIGINT)]
)
def test_the_second_signal_ends_it_at_once_and_the_intent_is_on_record(
    make_site: Making, numbers: tuple[signal.Signals, ...]
) -> None:
    with make_site(2, faults=[VERY_SLOW]) as site:
        process = site.start()
        site.service.at_post(1, lambda: process.send_signal(numbers[0])).wait(20)
        time.sleep(0.3)
        assert process.poll() is None
        process.send_signal(numbers[1])
        begun = time.monotonic()
        ended = finished(process)
        assert time.monotonic() - begun < 5
        assert ended.code == 130
        assert "To go on: kling-batch run batch.yaml" in ended.err
        assert site.states()["batch1"] == "unknown"
        site.resume(2)
        assert site.told("adopted") == 1


def test_an_interrupted_download_is_finished_by_the_next_run(make_site: Making) -> None:
    slowly = {"on": "result", "nth": 1, "do": {"drip": {"bytes": 4096, "every": 0.2}}}
    with make_site(faults=[slowly]) as site:
        site.write(1, seconds=30)
        process = site.start()
        until(lambda: list(site.outputs.glob(".*.part")))
        process.send_signal(signal.SIGINT)
        assert finished(process).code == 130
        site.resume(1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_at_any_moment_nothing_is_bought_twice(
    make_site: Making, number: signal.Signals
) -> None:
    """From its first instruction on: before the handlers are there, nothing was sent yet."""
    with make_site(8, faults=[{"on": "submit", "do": {"delay": 0.03}}]) as site:
        for after in (0.02, 0.1, 0.2, 0.3, 0.35, 0.4, 0.6):
            process = site.start()
            time.sleep(after)
            process.send_signal(number)
            ended = finished(process)
            by_python_itself = ended.code == 1 and "KeyboardInterrupt" in ended.err
            assert ended.code in (130, -number, 0) or by_python_itself, ended.err
            site.assert_money_is_safe()
        site.resume(8)


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_reader_that_leaves_does_not_stop_the_run(make_site: Making, stream: str) -> None:
    """As in `run --json | head -1`: what was paid for is fetched all the same."""
    with make_site(3) as site:
        process = site.start("run", site.manifest.name, "--yes", "--json", *site.flags)
        reader = process.stdout if stream == "stdout" else process.stderr
        assert reader is not None
        reader.readline()
        reader.close()
        assert process.wait(20) == 0
        site.assert_done(3)


def test_a_full_disk_under_stdout_does_not_stop_the_run(make_site: Making) -> None:
    with make_site(2) as site, Path("/dev/full").open("w") as full:
        words = ("run", site.manifest.name, "--yes", "--json", *site.flags)
        process = site.start(*words, stdout=full)
        ended = finished(process)
        assert ended.code == 0, ended.err
        site.assert_done(2)


@contextmanager
def terminal(site: Site) -> Iterator[tuple[Popen[str], FileIO]]:
    """A run on a terminal of its own, and the end of it that the person has."""
    person, program = pty.openpty()
    with FileIO(person, "r+") as window:
        process = site.start(
            before=(sys.executable, "-c", ON_TERMINAL),
            stdin=program,
            stdout=program,
            stderr=program,
            start_new_session=True,
        )
        os.close(program)
        yield process, window


def test_ctrl_c_on_a_terminal_ends_the_run_in_order(make_site: Making) -> None:
    with make_site(3, faults=[SLOW]) as site, terminal(site) as (process, window):
        site.service.at_post(1, lambda: window.write(b"\x03")).wait(20)
        shown = read_to_end(window)
        assert process.wait(20) == 130
        assert "kling-batch run batch.yaml" in shown
        assert site.states()["batch1"] == "submitted"
        site.resume(3)


@pytest.mark.parametrize("moment", [1, 3])
def test_a_terminal_that_is_closed_ends_the_run_in_order(make_site: Making, moment: int) -> None:
    with (
        make_site(3, faults=[{**SLOW, "nth": moment}]) as site,
        terminal(site) as (process, window),
    ):
        site.service.at_post(moment, window.close).wait(20)
        assert process.wait(20) == 130
        assert site.states()[f"batch{moment}"] == "submitted"
        site.resume(3)


def read_to_end(window: FileIO) -> str:
    """What the terminal shows until its program ends."""
    shown = b""
    with contextlib.suppress(OSError):  # a terminal whose program ended reads as an error
        while piece := window.read(4096):
            shown += piece
    return shown.decode()
