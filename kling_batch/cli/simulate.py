"""`simulate`: the service's stand-in on loopback, until it is interrupted."""

from __future__ import annotations

import threading
from pathlib import Path

from kling_batch.cli.console import say, show
from kling_batch.cli.surroundings import KEY_VARIABLE, URL_VARIABLE
from kling_batch.clock import Clock, FastClock, SystemClock
from kling_batch.errors import ExitCode


def command(*, port: int, speed: float, faults: str | None) -> ExitCode:
    """Serve until Ctrl-C; the address is the one line on stdout."""
    from kling_batch.simulator.app import Simulator
    from kling_batch.simulator.faults import FaultScript
    from kling_batch.simulator.server import serve

    clock: Clock = SystemClock() if speed == 1 else FastClock(speed)
    script = FaultScript.load(Path(faults)) if faults else None
    with serve(Simulator(clock, faults=script), port) as server:
        show(server.url)
        say("A stand-in of the service: any key is taken, nothing is charged. In another terminal:")
        say(f"  export {URL_VARIABLE}={server.url} {KEY_VARIABLE}=any")
        say("  kling-batch run MANIFEST")
        say("Ctrl-C ends it.")
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return ExitCode.DONE
    return ExitCode.DONE
