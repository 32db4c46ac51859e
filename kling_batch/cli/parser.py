"""The command line's grammar: commands, flags, defaults. It parses and does nothing else."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable

from kling_batch import __version__
from kling_batch.errors import UsageError

EXIT_CODES = """\
exit codes:
  0 done   1 some jobs failed   2 wrong usage or manifest   3 an outcome is unknown
  4 out of credits or budget    5 key missing or refused    6 another run holds the state
  7 stopped, can be resumed     8 plan --check: something to do   9 state unusable
  10 declined   70 a bug   130 interrupted, can be resumed
"""


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Asks the system for the width: argparse would load shutil (2 ms) for it."""

    def __init__(self, prog: str) -> None:
        try:
            width = os.get_terminal_size().columns
        except OSError:
            width = 80
        super().__init__(prog, width=max(width - 2, 40))


class _Parser(argparse.ArgumentParser):
    """Mistakes become errors of ours, so that one place says them all."""

    def error(self, message: str) -> None:  # type: ignore[override]
        raise UsageError(message, f"see: {self.prog} --help")


def build_parser() -> argparse.ArgumentParser:
    """The whole grammar. Every command's arguments are the parameters of its function."""
    parser = _Parser(
        prog="kling-batch",
        description="Batches of Kling 3.0 Motion Control videos from YAML manifests:"
        " priced before, resumable after, never paid twice.",
        epilog=EXIT_CODES,
        formatter_class=_Formatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"kling-batch {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(name: str, says: str) -> argparse.ArgumentParser:
        return commands.add_parser(
            name, help=says, description=says, formatter_class=_Formatter, allow_abbrev=False
        )

    init = command("init", "write a small commented manifest to begin with")
    init.add_argument("directory", nargs="?", default=".", metavar="DIR")

    validate = command("validate", "check manifests; no network, no key")
    _manifests(validate)
    validate.add_argument(
        "--format",
        choices=("text", "json", "github"),
        default="text",
        dest="form",
        help="github: annotations for pull requests",
    )
    _json(validate)
    _base_url(validate)

    plan = command("plan", "show what a run would do, its price and its end; no network, no key")
    _manifests(plan)
    _json(plan)
    plan.add_argument("--out", metavar="FILE", help="save the plan, for `run FILE`")
    plan.add_argument(
        "--check", action="store_true", help="exit with 8 when there is anything to do"
    )
    plan.add_argument(
        "--against", metavar="REV", help="price the change since this git revision, as a table"
    )
    _selection(plan)
    _max_credits(plan)
    _simulated(plan)
    _base_url(plan)

    run = command("run", "plan, ask, then submit, follow and download; again to resume")
    _manifests(run, "MANIFEST|PLAN")
    _running(run)
    _selection(run)

    retry = command("retry", "run the jobs that failed once more")
    _manifest(retry)
    retry.add_argument("ids", nargs="*", metavar="ID", help="these only")
    _running(retry)

    status = command("status", "show what stands where, from the state file")
    _manifests(status)
    _json(status)
    status.add_argument("--watch", action="store_true", help="refresh until the run ends")
    _simulated(status)

    resolve = command("resolve", "decide a submission whose outcome is unknown")
    _manifest(resolve)
    resolve.add_argument("id", metavar="ID")
    answer = resolve.add_mutually_exclusive_group(required=True)
    answer.add_argument("--job-id", metavar="J", help="it became this job")
    answer.add_argument("--not-charged", action="store_true", help="it was not made: plan it again")
    answer.add_argument("--forget", action="store_true", help="give it up as spent: plan it again")
    _simulated(resolve)

    report = command("report", "write the gallery page, from the state file")
    _manifest(report)
    report.add_argument("--out", metavar="FILE", help="another file than outputs/NAME/index.html")
    report.add_argument("--open", action="store_true", dest="open_page", help="in the browser")
    _simulated(report)

    simulate = command("simulate", "serve a stand-in of the service on loopback")
    simulate.add_argument("--port", type=_whole(0), default=8787, metavar="N")
    simulate.add_argument(
        "--speed", type=_positive, default=1.0, metavar="X", help="X times faster than real"
    )
    simulate.add_argument("--faults", metavar="FILE", help="scripted faults")

    schema = command("schema", "print a JSON Schema")
    schema.add_argument(
        "--kind",
        choices=("manifest", "plan", "status", "event", "saved-plan", "change"),
        default="manifest",
    )
    return parser


def _manifest(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("manifest", metavar="MANIFEST")


def _manifests(parser: argparse.ArgumentParser, metavar: str = "MANIFEST") -> None:
    parser.add_argument("manifests", nargs="+", metavar=metavar)


def _json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", dest="wants_json", help="JSON on stdout")


def _base_url(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--base-url", metavar="URL", help="another host for the service")


def _simulated(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--simulate", action="store_true", help="on the built-in simulator, with its own state"
    )


def _max_credits(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--max-credits", type=_whole(0), metavar="N", help="never spend more than this in all"
    )


def _selection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--only", action="append", default=[], metavar="GLOB", help="only jobs with such an id"
    )
    parser.add_argument("--retry-failed", action="store_true", help="submit failed jobs again")
    parser.add_argument(
        "--redo-changed", action="store_true", help="make again what the manifest changed"
    )


def _running(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--yes", action="store_true", help="do not ask")
    _json(parser)
    volume = parser.add_mutually_exclusive_group()
    volume.add_argument("-q", "--quiet", action="store_true", help="only what went wrong")
    volume.add_argument("-v", "--verbose", action="store_true", help="every step")
    _max_credits(parser)
    parser.add_argument(
        "--canary", type=_whole(1), metavar="N", help="after N jobs show the cost and ask again"
    )
    parser.add_argument(
        "--no-wait", action="store_true", help="submit what may go now; do not wait for videos"
    )
    parser.add_argument(
        "--on-finish", metavar="CMD", help="a shell command to run at the end, the summary on stdin"
    )
    parser.add_argument("--poll-interval", type=_interval, metavar="S", help="seconds")
    parser.add_argument(
        "--reconcile-wait",
        type=_not_negative,
        default=600.0,
        metavar="S",
        help="seconds of quiet before an unknown submission may be planned again (600)",
    )
    parser.add_argument(
        "--timeout", type=_positive, metavar="S", help="end after S seconds; jobs go on"
    )
    _simulated(parser)
    _base_url(parser)


def _whole(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isascii() or not text.isdigit() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {least} on")
        return int(text)

    return number


def _not_negative(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 on")
    return value


def _interval(text: str) -> float:
    return max(_not_negative(text), 0.01)  # 0 asks for the shortest there is


def _positive(text: str) -> float:
    value = _not_negative(text)
    if value == 0:
        raise argparse.ArgumentTypeError("0 is too small")
    return value
