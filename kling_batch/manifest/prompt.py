"""Templates: Jinja2 in a sandbox without a loader, bounded in time, memory and output.

The bounds hold by construction, not by a timer. A template is a text of at most MAX_SOURCE
characters; of Jinja's statements only ``if``, ``for`` and ``set`` are left; the only call is
``range``; there are no methods, only the filters named here. So a value can grow only through
the operators and filters below, each of which refuses what is longer than MAX_VALUE, and work
can grow only through loops, each round of which is counted, as is every filter's and operator's
work. What passes MAX_WORK or MAX_OUTPUT ends in an error, and so do all of a manifest's
renderings together that pass MAX_WORK_IN_ALL.

A text without ``{{``, ``{%`` or ``{#`` is no template and never loads Jinja.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Template
    from jinja2.sandbox import ImmutableSandboxedEnvironment

Scope = Mapping[str, Any]

MAX_SOURCE = 10_000
MAX_VALUE = 20_000
MAX_OUTPUT = 20_000
MAX_WORK = 100_000
MAX_WORK_IN_ALL = 50_000_000
MAX_NESTING = 60
NAMES = (
    "image", "video", "vars", "id", "take",
    "quality_mode", "character_orientation", "duration_seconds",
)  # fmt: skip


class TemplateFault(Exception):
    """A template that can't be used. ``needle`` is the part that is meant, ``row`` its line."""

    def __init__(self, message: str, hint: str = "", needle: str = "", row: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.needle = needle
        self.row = row


def is_template(text: str) -> bool:
    """Whether Jinja would change this text."""
    return "{" in text and ("{{" in text or "{%" in text or "{#" in text)


class Templates:
    """Renders texts; compiles each distinct one once."""

    def __init__(self) -> None:
        self._compiled: dict[str, Template | TemplateFault] = {}
        self._environment: ImmutableSandboxedEnvironment | None = None
        self._meter = Meter()

    def render(self, text: str, scope: Scope) -> str:
        """The text with its variables filled in. Raises TemplateFault."""
        if not is_template(text):
            return text
        template = self._compiled.get(text)
        if template is None:
            template = self._compile(text)
            self._compiled[text] = template
        if isinstance(template, TemplateFault):
            raise template
        return self._run(template, scope)

    def _compile(self, text: str) -> Template | TemplateFault:
        from kling_batch.manifest import sandbox

        if len(text) > MAX_SOURCE:
            return TemplateFault(
                f"the template has {len(text):,} characters, at most {MAX_SOURCE:,} are allowed"
            )
        if self._environment is None:
            self._environment = sandbox.environment(self._meter)
        try:
            return sandbox.compiled(self._environment, text)
        except TemplateFault as fault:
            return fault

    def _run(self, template: Template, scope: Scope) -> str:
        self._meter.reset()
        pieces: list[str] = []
        length = 0
        try:
            for piece in template.generate(scope):
                length += len(piece)
                if length > MAX_OUTPUT:
                    raise TemplateFault(f"the template makes more than {MAX_OUTPUT:,} characters")
                pieces.append(piece)
        except TemplateFault:
            raise
        except RecursionError:
            raise TemplateFault("the template is nested too deeply") from None
        except Exception as error:  # whatever an expression's operands make of each other
            raise TemplateFault(f"the template fails: {str(error)[:200]}") from None
        return "".join(pieces)


class Meter:
    """Counts work, one rendering's and a manifest's: characters handled and loop rounds."""

    def __init__(self) -> None:
        self._left = MAX_WORK
        self._left_in_all = MAX_WORK_IN_ALL

    def reset(self) -> None:
        self._left = MAX_WORK

    def spend(self, amount: int) -> None:
        self._left -= amount + 1
        self._left_in_all -= amount + 1
        if self._left < 0 or self._left_in_all < 0:
            raise TemplateFault(
                "the template does too much work", "a prompt needs no long loops: write it out"
            )

    def rounds(self, items: Any) -> Iterator[Any]:
        """The items of a loop, each counted with what a body of some size may cost."""
        for item in items:
            self.spend(100)
            yield item
