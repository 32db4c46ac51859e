"""The Jinja environment of prompts: what the language holds, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from jinja2 import StrictUndefined, Template, TemplateSyntaxError, Undefined, nodes
from jinja2 import filters as stock
from jinja2.runtime import LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import missing
from jinja2.visitor import NodeTransformer

from kling_batch.manifest.bounds import (
    MAX_NESTING,
    MAX_VALUE,
    NAMES,
    Group,
    Meter,
    TemplateFault,
)
from kling_batch.manifest.nearest import nearest

_ALLOWED: tuple[type[nodes.Node], ...] = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.If, nodes.For, nodes.Assign,
    nodes.Name, nodes.NSRef, nodes.Const, nodes.Tuple, nodes.List, nodes.CondExpr, nodes.Filter,
    nodes.Test, nodes.Getitem, nodes.Getattr, nodes.Slice, nodes.Concat, nodes.Compare,
    nodes.Operand, nodes.And, nodes.Or, nodes.Not, nodes.Neg, nodes.Pos, nodes.Add, nodes.Sub,
    nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod, nodes.Call,
)  # fmt: skip
_REFUSED = {
    "Pow": "`**`", "Include": "`include`", "Import": "`import`", "FromImport": "`from … import`",
    "Extends": "`extends`", "Block": "`block`", "Macro": "`macro`", "CallBlock": "`call`",
    "FilterBlock": "`filter`", "AssignBlock": "`set` with a body", "With": "`with`",
    "Dict": "a mapping", "EvalContextModifier": "`autoescape`",
}  # fmt: skip
_LOOP = frozenset({"index", "index0", "revindex", "revindex0", "first", "last", "length"})
_MAX_RANGE = 1000
_BIG = 10**15


def compiled(environment: ImmutableSandboxedEnvironment, text: str) -> Template:
    """The template, checked against the language. Raises TemplateFault."""
    try:
        tree = environment.parse(text)
        _check(tree, 0)
        tree = _Metered().visit(tree)
        code = environment.compile(tree)
        return Template.from_code(environment, code, environment.globals)
    except TemplateSyntaxError as error:
        raise _syntax_fault(environment, error) from None
    except (RecursionError, MemoryError, SyntaxError, OverflowError, ValueError):
        raise TemplateFault("the template is nested too deeply or is otherwise unusable") from None


def _syntax_fault(
    environment: ImmutableSandboxedEnvironment, error: TemplateSyntaxError
) -> TemplateFault:
    message = error.message or "unknown"
    for kind, known in (("filter", environment.filters), ("test", environment.tests)):
        if message.startswith(f"No {kind} named "):
            name = message.split("'")[1]
            return TemplateFault(
                f"templates have no {kind} `{name}`",
                _nearest(name, sorted(key for key in known if key[0] != "_")),
                name,
            )
    return TemplateFault(
        f"the template can't be read: {message.rstrip('.')[:200]}",
        "a literal brace pair is written {{ '{{' }}",
        row=error.lineno,
    )


def _check(node: nodes.Node, depth: int) -> None:
    if depth > MAX_NESTING:
        raise TemplateFault("the template is nested too deeply", row=node.lineno)
    kind = type(node).__name__
    if not isinstance(node, _ALLOWED):
        said = _REFUSED.get(kind, f"`{kind.lower()}`")
        raise TemplateFault(
            f"{said} is not part of prompt templates",
            "they have {{ … }}, filters, if, for and set",
            row=node.lineno,
        )
    if isinstance(node, nodes.Name) and node.name in ("self", "super"):
        raise unknown(missing, node.name)
    if isinstance(node, nodes.Call):
        _check_call(node)
    if isinstance(node, nodes.For) and node.recursive:
        raise TemplateFault("recursive loops are not part of prompt templates", row=node.lineno)
    for child in node.iter_child_nodes():
        _check(child, depth + 1)


def _check_call(node: nodes.Call) -> None:
    target = node.node
    if isinstance(target, nodes.Name) and target.name == "range":
        return
    if isinstance(target, nodes.Getattr):
        hint = f"use a filter where there is one: {{{{ value | {target.attr} }}}}"
    else:
        hint = "only `range` can be called"
    raise TemplateFault("functions and methods can't be called here", hint, row=node.lineno)


class _Metered(NodeTransformer):
    """Counts every loop's rounds, bounds ``~`` as ``+`` is bounded, keeps lists flat."""

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802 - jinja's visitor names
        self.generic_visit(node)
        node.iter = _filter(node.iter, "_rounds")
        return node

    def visit_List(self, node: nodes.List) -> nodes.Node:  # noqa: N802 - jinja's visitor names
        self.generic_visit(node)
        return _filter(node, "_flat")

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:  # noqa: N802 - jinja's visitor names
        self.generic_visit(node)
        return _filter(node, "_flat") if node.ctx == "load" else node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802 - jinja's visitor names
        self.generic_visit(node)
        return _filter(nodes.List(node.nodes, lineno=node.lineno), "_concat")


def _filter(node: Any, name: str) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


def _nearest(name: str, known: Sequence[str]) -> str:
    near = nearest(name, known)
    there = f"there are: {', '.join(f'`{k}`' for k in known)}" if known else "there are none"
    return f"did you mean `{near}`? {there}" if near else there


class _Missing(StrictUndefined):
    """Says which name is unknown, and what is there instead, as soon as it is used."""

    __slots__ = ()

    def __init__(
        self, hint: str | None = None, obj: Any = missing, name: str | None = None, exc: Any = None
    ) -> None:
        del exc  # jinja's own error would not know the other names
        super().__init__(hint, obj, name, cast(Any, lambda _: unknown(obj, str(name))))


def unknown(owner: object, name: str) -> TemplateFault:
    """The fault for a name that is not there; ``owner`` is what it was looked up in."""
    if isinstance(owner, Group):
        dotted, known = f"{owner.name}.{name}", [f"{owner.name}.{key}" for key in sorted(owner)]
    elif isinstance(owner, LoopContext):
        dotted, known = f"loop.{name}", [f"loop.{key}" for key in sorted(_LOOP)]
    elif owner is missing:
        dotted, known = name, list(NAMES)
    else:
        return TemplateFault(f"`.{name[:60]}` is not available on this value", needle=name)
    return TemplateFault(f"unknown variable `{dotted[:80]}`", _nearest(dotted, known), dotted)


class _Environment(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%"})

    def __init__(self, meter: Meter) -> None:
        super().__init__(
            undefined=_Missing,
            autoescape=False,
            optimized=False,
            keep_trailing_newline=True,
            finalize=_written,
        )
        self.meter = meter

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Only groups and a loop's counters have names; no object's attributes are reachable."""
        return self.getitem(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(obj, Group) and isinstance(argument, str):
            return obj[argument] if argument in obj else _Missing(obj=obj, name=argument)
        if isinstance(obj, LoopContext) and argument in _LOOP:
            return getattr(obj, argument)
        if isinstance(obj, (str, list, tuple)) and isinstance(argument, (int, slice)):
            return obj[argument]
        if isinstance(obj, Undefined):
            return obj[argument]
        raise unknown(obj, str(argument))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if isinstance(left, str) and isinstance(right, str) and operator == "+":
            self.meter.spend(len(left) + len(right))
            _bound(len(left) + len(right))
            return left + right
        if not all(isinstance(side, (int, float, Undefined)) for side in (left, right)):
            raise TemplateFault(
                f"`{operator}` takes two numbers here", "use `~` to put texts together"
            )
        self.meter.spend(1)
        value = super().call_binop(context, operator, left, right)
        if abs(value) > _BIG:
            raise TemplateFault("a number in the template grows too large")
        return value


def _bound(length: int) -> None:
    if length > MAX_VALUE:
        raise TemplateFault(f"a value in the template has more than {MAX_VALUE:,} characters")


def environment(meter: Meter) -> ImmutableSandboxedEnvironment:
    """A sandbox with the filters of prompts and nothing else."""
    made = _Environment(meter)
    made.globals = {"range": _range}
    made.filters = {name: _metered(meter, function) for name, function in _FILTERS.items()}
    made.filters["_rounds"] = meter.rounds
    made.filters["_flat"] = _metered(meter, _flat)
    made.filters["_concat"] = _metered(meter, _concat)
    made.filters["default"] = made.filters["d"] = stock.do_default
    return made


def _metered(meter: Meter, function: Callable[..., Any]) -> Callable[..., Any]:
    def run(value: Any, *args: Any, **kwargs: Any) -> Any:
        meter.spend(len(value) if isinstance(value, (str, list, tuple)) else 1)
        result = function(value, *args, **kwargs)
        if isinstance(result, str):
            meter.spend(len(result))
            _bound(len(result))
        return result

    return run


def _range(*bounds: int) -> range:
    made = range(*bounds)
    if len(made) > _MAX_RANGE:
        raise TemplateFault(f"`range` gives at most {_MAX_RANGE:,} numbers")
    return made


def _written(value: Any) -> Any:
    # A mapping, a function or `loop` would show Python's insides, addresses included.
    if isinstance(value, (str, int, float, Undefined)):
        return value
    raise TemplateFault("only texts and numbers can be written out", "`| join` makes a list a text")


def _flat(items: Sequence[Any]) -> Sequence[Any]:
    # Lists of lists share their parts: sixty of them would be written out as 4 to the 60th.
    if any(not isinstance(item, (str, int, float, Undefined)) for item in items):
        raise TemplateFault("a list in a template holds texts and numbers only")
    return items


def _concat(parts: list[Any]) -> str:
    return _join(parts)


def _join(value: Any, separator: str = "") -> str:
    parts = [str(part) for part in value]
    _bound(sum(map(len, parts)) + len(str(separator)) * len(parts))
    return str(separator).join(parts)


def _replace(value: Any, old: str, new: str) -> str:
    text = str(value)
    _bound(len(text) + text.count(str(old)) * len(str(new)))
    return text.replace(str(old), str(new))


def _round(value: float, precision: int = 0) -> float:
    return round(value, max(-10, min(10, precision)))


def _truncate(value: Any, length: int = 255, end: str = "…") -> str:
    text = str(value)
    return text if len(text) <= length else text[: max(0, length - len(str(end)))] + str(end)


_FILTERS: dict[str, Callable[..., Any]] = {
    "abs": abs,
    "capitalize": lambda value: str(value).capitalize(),
    "first": lambda value: value[0],
    "float": lambda value: float(value),
    "int": lambda value: int(value),
    "join": _join,
    "last": lambda value: value[-1],
    "length": len,
    "lower": lambda value: str(value).lower(),
    "replace": _replace,
    "round": _round,
    "string": str,
    "title": lambda value: stock.do_title(str(value)),
    "trim": lambda value: str(value).strip(),
    "truncate": _truncate,
    "upper": lambda value: str(value).upper(),
}
