"""``python -m kling_batch``: the same as the console script."""

from kling_batch.cli.main import entry_point

entry_point()
