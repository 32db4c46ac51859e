"""The edge: parse, hand over to one command, and turn every error into a line and an exit code."""

from __future__ import annotations

import gc
import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from kling_batch.cli.parser import build_parser
from kling_batch.errors import ExitCode, KlingBatchError


def entry_point() -> None:
    """The console script."""
    # What a command makes of a large manifest lives to its end, and hardly anything in cycles:
    # with Python's own 700 the collector would walk it again and again (1 s at 100,000 jobs).
    gc.set_threshold(100_000, 20, 20)
    _open_streams()
    code = main(sys.argv[1:])
    _flush()
    # Workers may still wait for the network; what they would bring is asked for anew.
    os._exit(code)


def main(argv: Sequence[str]) -> int:
    """Run one command; returns its exit code and raises nothing a user can cause."""
    command = ""
    try:
        arguments = vars(build_parser().parse_args(argv))
        command = arguments.pop("command")
        module = import_module(f"kling_batch.cli.{command}")  # only what this command needs
        return int(module.command(**arguments))
    except KlingBatchError as error:
        _say_error(error)
        return int(error.exit_code)
    except KeyboardInterrupt:
        _say("interrupted; nothing was lost")
        return int(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output has left (`| head`): not an error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(ExitCode.DONE)
    except SystemExit as end:  # argparse, after --help and --version
        return int(end.code or 0)
    except Exception as bug:
        return _say_bug(bug, command)


def _say_error(error: KlingBatchError) -> None:
    from kling_batch.manifest.problems import clean

    problems = getattr(error, "problems", ())
    if problems:  # of a manifest: all of them, each with its place
        from kling_batch.manifest.problems import show

        _say("\n".join(show(one) for one in problems))
        return
    _say(f"error: {clean(error.message)}")
    if error.hint:
        _say(f"  {clean(error.hint)}")


def _say_bug(bug: Exception, command: str) -> int:
    from kling_batch.cli.crash import write_log

    try:
        where = f"the trace is in {write_log(bug, command)}"
    except OSError as error:
        where = f"its trace could not be kept: {error.strerror}"
    _say(
        f"error: a bug in kling-batch ({type(bug).__name__}); {where}."
        " Nothing that was recorded is lost."
    )
    return int(ExitCode.BUG)


def _say(text: str) -> None:
    from kling_batch.cli.console import say

    say(text)


def _open_streams() -> None:
    """Stand in for streams that were closed, and write what an encoding lacks as escapes."""
    sys.stdin = sys.stdin or open(os.devnull)  # noqa: SIM115, PTH123 -- to the end
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115, PTH123
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115, PTH123
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue  # the other end is closed: there is nobody to tell
