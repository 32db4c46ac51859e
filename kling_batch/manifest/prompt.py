"""Templates: Jinja2 in a sandbox without a loader, bounded in time, memory and output.

The bounds hold by construction, not by a timer. A template is a text of at most MAX_SOURCE
characters; of Jinja's statements only ``if``, ``for`` and ``set`` are left; the only call is
``range``; there are no methods, only the filters named here. So a value can grow only through
the operators and filters below, each of which refuses what is longer than MAX_VALUE, and work
can grow only through loops, each round of which is counted, as is every filter's and operator's
work. What passes MAX_WORK or MAX_OUTPUT ends in an error, and so do all of a manifest's
renderings together that pass MAX_WORK_IN_ALL.

A text without ``{{``, ``{%`` or ``{#`` is no template. One whose only marks are ``{{ name }}`` and
``{{ group.name }}`` is filled in here: most are such, and Jinja takes 45 ms to load and 650 µs
to compile each. Wherever that would not end in a plain text, Jinja renders it after all, so
that every fault and its words are Jinja's; a property test holds the two together.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from kling_batch.manifest.bounds import (
    GROUPS,
    MAX_OUTPUT,
    MAX_SOURCE,
    NAMES,
    Group,
    Meter,
    TemplateFault,
)

if TYPE_CHECKING:
    from jinja2 import Template
    from jinja2.sandbox import ImmutableSandboxedEnvironment

Scope = Mapping[str, Any]

# What Jinja takes for a name in every place, where the root is one of ours; no other brace may
# stand in the text, and no "\r", which Jinja makes a "\n".
_MARK = re.compile(r"\{\{[ \t\n]*([a-z_]+)(?:\.([A-Za-z_][A-Za-z0-9_]*))?[ \t\n]*\}\}")


def is_template(text: str) -> bool:
    """Whether Jinja would change this text."""
    return "{" in text and ("{{" in text or "{%" in text or "{#" in text)


Plain = tuple[str, list[tuple[str, str | None, str]]]
"""The text before the first name; then each name, as root and rest, with the text behind it."""


def plain(text: str) -> Plain | None:
    """The text's parts when all that it has of Jinja are plain names, else None."""
    if len(text) > MAX_SOURCE or "\r" in text:
        return None
    first, *others = _MARK.split(text)
    if any("{" in part or "}" in part for part in (first, *others[2::3])):
        return None
    parts = list(zip(others[::3], others[1::3], others[2::3], strict=True))
    for root, name, _ in parts:
        if root not in NAMES or (name is None) is (root in GROUPS):
            return None
    return first, parts


def filled_in(template: Plain, scope: Scope) -> str | None:
    """The text with its names filled in; None where Jinja might say more than a text."""
    text, parts = template
    for root, name, after in parts:
        value = scope.get(root)
        if name is not None:
            if not isinstance(value, Group):
                return None
            value = value.get(name)
        if not isinstance(value, (str, int, float)):
            return None
        text += f"{value!s}{after}"
    return text if len(text) <= MAX_OUTPUT else None


class Templates:
    """Renders texts; reads or compiles each distinct one once."""

    def __init__(self) -> None:
        self._plain: dict[str, Plain | None] = {}
        self._compiled: dict[str, Template | TemplateFault] = {}
        self._environment: ImmutableSandboxedEnvironment | None = None
        self._meter = Meter()

    def render(self, text: str, scope: Scope) -> str:
        """The text with its variables filled in. Raises TemplateFault."""
        if not is_template(text):
            return text
        if text not in self._plain:
            self._plain[text] = plain(text)
        template = self._plain[text]
        made = filled_in(template, scope) if template is not None else None
        return made if made is not None else self.by_jinja(text, scope)

    def by_jinja(self, text: str, scope: Scope) -> str:
        """The same for any template, at Jinja's price."""
        template = self._compiled.get(text)
        if template is None:
            template = self._compile(text)
            self._compiled[text] = template
        if isinstance(template, TemplateFault):
            raise template
        return self._run(template, scope)

    def further(self, text: str, scope: Scope, first: TemplateFault) -> Iterator[TemplateFault]:
        """The other unknown names of a text that failed by one: rendering ends there.

        Of those that stand plainly in their marks, and not where statements may set a name.
        """
        if not first.needle or "{%" in text:
            return
        from jinja2.utils import missing

        from kling_batch.manifest.sandbox import unknown

        told = {first.needle}
        for root, name in _MARK.findall(text):
            owner = scope.get(root, missing)
            if owner is missing:
                fault = unknown(missing, root)
            elif name and isinstance(owner, Group) and name not in owner:
                fault = unknown(owner, name)
            else:
                continue
            if fault.needle not in told:
                told.add(fault.needle)
                yield fault

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
