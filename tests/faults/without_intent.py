"""The program with its write-ahead taken out, as a negative control: never import it."""

from kling_batch.cli.main import entry_point
from kling_batch.state.records import Record
from kling_batch.state.store import Attempt, Happening, Store


def forget_the_intent(_store: Store, _record: Record, _attempt: Attempt, _: Happening) -> None:
    """Commit nothing: what is being sent is known to the process alone."""


if __name__ == "__main__":
    Store.intend = forget_the_intent  # type: ignore[method-assign]
    entry_point()
