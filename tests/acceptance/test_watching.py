"""Looking on: the terminal, the hook at the end, `status --watch`."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

from support.bench import jobs


def on_a_terminal(
    folder: Path, *words: str, columns: int = 80, **variables: str
) -> tuple[int, str]:
    """Run the program with a terminal for stdin, stdout and stderr; all that it wrote there."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    surroundings = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        [sys.executable, "-m", "kling_batch", *words],
        cwd=folder,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**surroundings, "TERM": "xterm", **variables},
    )
    os.close(slave)
    seen = b""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            piece = os.read(master, 65536)
        except OSError:  # the other end is closed
            break
        seen += piece
        if b"is yes: " in piece:
            os.write(master, b"yes\n")
    os.close(master)
    return process.wait(timeout=10), seen.decode()


def test_a_run_on_a_terminal_asks_and_shows_a_bar_with_credits(tmp_path):
    (tmp_path / "m.yaml").write_text(jobs(3))
    code, seen = on_a_terminal(tmp_path, "run", "m.yaml", "--simulate")
    assert code == 0, seen
    assert "Submit 3 jobs for 180 credits (about $1.66) on the simulator?" in seen
    assert "0/3" in seen
    assert "180 of 180 credits" in seen
    assert seen.rstrip().endswith("\a")


def test_colours_stay_away_where_they_are_not_wanted(tmp_path):
    (tmp_path / "m.yaml").write_text(jobs(1))
    _, coloured = on_a_terminal(tmp_path, "plan", "m.yaml")
    _, plain = on_a_terminal(tmp_path, "plan", "m.yaml", NO_COLOR="1")
    assert "\x1b[32m" in coloured
    assert "\x1b[" not in plain


def test_a_narrow_window_keeps_every_row_on_one_line(tmp_path):
    (tmp_path / "m.yaml").write_text(jobs(2).replace("id: j1", f"id: {'long' * 15}"))
    _, seen = on_a_terminal(tmp_path, "plan", "m.yaml", columns=60, NO_COLOR="1")
    table = [line for line in seen.splitlines() if line.startswith("+")]
    assert len(table) == 2
    assert all(len(line) <= 60 for line in table)


def test_off_a_terminal_there_are_plain_lines_and_no_bar(call, tmp_path):
    (tmp_path / "m.yaml").write_text(jobs(2))
    told = call("run", "m.yaml", "--simulate", "--yes")
    assert "j1  submitted for 60 credits" in told.err
    assert "j1  -> outputs/batch/simulated/j1.mp4" in told.err
    assert "\x1b" not in told.err
    assert "\r" not in told.err


def test_quiet_says_only_what_went_wrong(call, tmp_path):
    (tmp_path / "m.yaml").write_text(jobs(2).replace("number 2", "number 2 [fail]"))
    told = call("run", "m.yaml", "--simulate", "--yes", "-q")
    assert told.code == 1
    assert told.err.startswith("j2  failed: ")
    assert "j1" not in told.err


def test_the_hook_gets_the_summary_and_its_failure_changes_nothing(call, tmp_path):
    (tmp_path / "m.yaml").write_text(jobs(1))
    told = call("run", "m.yaml", "--simulate", "--yes", "--on-finish", "cat > seen.json; exit 3")
    assert told.code == 0
    assert "--on-finish ended with 3" in told.err
    summary = json.loads((tmp_path / "seen.json").read_text())
    assert (summary["event"], summary["exit_code"]) == ("summary", 0)


def test_status_watch_ends_when_nothing_is_under_way(call, tmp_path):
    (tmp_path / "m.yaml").write_text(jobs(2))
    call("run", "m.yaml", "--simulate", "--yes")
    told = call("status", "m.yaml", "--simulate", "--watch")
    assert told.code == 0
    assert told.out.count("downloaded  j") == 2


def test_a_simulated_run_leaves_a_page_with_pictures_of_its_own(call, tmp_path):
    (tmp_path / "m.yaml").write_text(jobs(2))
    told = call("run", "m.yaml", "--simulate", "--yes")
    folder = tmp_path / "outputs/batch/simulated"
    assert "The gallery is outputs/batch/simulated/index.html" in told.err
    page = (folder / "index.html").read_text()
    shown = re.findall(r'href="(inputs/\w+\.(?:png|mp4))"', page)
    assert len(set(shown)) == 2
    assert all((folder / way).is_file() for way in shown)
    assert call("report", "m.yaml", "--simulate").out == "outputs/batch/simulated/index.html\n"
