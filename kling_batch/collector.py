"""Python's cyclic collector, paused while a large manifest is worked on."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused() -> Iterator[None]:
    """Nothing made within lies in cycles: a collection would walk millions of values in vain.

    Neither does the first one after it: what was made is set apart, and freed when let go.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.freeze()
            gc.enable()
