"""``dataclass`` for what every command loads: the standard one's classes, made ten times faster.

The standard module loads ``inspect`` (7 ms) and compiles some eight functions for each class
(0.5 to 1 ms); `plan` makes about forty of them: together more than all else that it loads. Here
a class costs about 30 µs, and its ``__init__``, the one function that must be compiled to be
fast, is compiled when the first instance is made. A type checker sees the standard decorator,
and at run time its ``replace``, ``fields`` and ``asdict`` take these classes for their own.
"""

from __future__ import annotations

from functools import cache
from operator import attrgetter

TYPE_CHECKING = False  # `typing` is not loaded for this one name
if TYPE_CHECKING:
    from collections.abc import Callable
    from dataclasses import dataclass as dataclass
    from dataclasses import field as field
    from dataclasses import replace as replace
    from typing import Any
else:

    def dataclass(*, frozen=False, slots):
        """Slotted classes of values, compared and shown by their fields; ``frozen``: read-only."""
        if not slots:
            raise TypeError("these classes have slots")
        return lambda cls: _made(cls, frozen)

    def field(*, default_factory):
        """A field whose value is made anew for each instance."""
        return _Factory(default_factory)

    def replace(value, /, **changes):
        """A copy of the value with other values in some fields."""
        cls = value.__class__
        values, places = _shape(cls)
        made = list(values(value))
        for name, one in changes.items():
            made[places[name]] = one
        return cls(*made)

    @cache
    def _shape(cls):
        """What gives all values of an instance at once, and where among them each field is."""
        return attrgetter(*cls.__slots__), {name: n for n, name in enumerate(cls.__slots__)}


_CLASS: Any = object.__dict__["__class__"]


class _Factory:
    __slots__ = ("make",)

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make


def _made(plain: Any, frozen: bool) -> Any:
    """The class over again, with slots: these must be known when a class is made."""
    body = dict(plain.__dict__)
    names = tuple(plain.__annotations__)
    defaults = {name: body.pop(name) for name in names if name in body}
    for name in ("__dict__", "__weakref__"):
        body.pop(name, None)
    cls: Any = None

    def first_init(self: Any, *args: Any, **kwargs: Any) -> None:
        cls.__init__ = _compiled_init(cls, defaults, frozen)
        cls.__init__(self, *args, **kwargs)

    values = attrgetter(*names)

    def equal(self: Any, other: object) -> Any:
        return values(self) == values(other) if other.__class__ is cls else NotImplemented

    def reduce(self: Any) -> Any:
        return cls, tuple(getattr(self, name) for name in names)

    def shown(self: Any) -> str:
        return f"{cls.__qualname__}({', '.join(f'{n}={getattr(self, n)!r}' for n in names)})"

    body |= {
        "__slots__": names,
        "__match_args__": names,
        "__dataclass_fields__": _Fields(defaults),
        "__init__": first_init,
        "__eq__": equal,
        "__hash__": (lambda self: hash(values(self))) if frozen else None,
        "__repr__": shown,
        "__reduce__": reduce,
    }
    if frozen:
        body |= {"__setattr__": _refuse, "__delattr__": _refuse}
    cls = type(plain.__name__, plain.__bases__, body)
    return cls


def _compiled_init(cls: Any, defaults: dict[str, Any], frozen: bool) -> Any:
    # A frozen class refuses to be set, so its instance is filled as one of an open class of the
    # same slots: its setters one by one would take twice as long, a tenth of the time of `plan`.
    known: dict[str, Any] = {"_UNSET": _Factory}
    head, lines = ["self"], []
    if frozen:
        known["_open"] = type(cls.__name__, cls.__bases__, {"__slots__": cls.__slots__})
        known["_frozen"], known["_set_class"] = cls, _CLASS.__set__
        lines.append(" _set_class(self, _open)")
    for name in cls.__slots__:
        value = name
        if name in defaults:
            default = defaults[name]
            if isinstance(default, _Factory):
                known[f"_make_{name}"] = default.make
                value = f"_make_{name}() if {name} is _UNSET else {name}"
                head.append(f"{name}=_UNSET")
            else:
                known[f"_default_{name}"] = default
                head.append(f"{name}=_default_{name}")
        else:
            head.append(name)
        lines.append(f" self.{name} = {value}")
    if frozen:
        lines.append(" self.__class__ = _frozen")
    if hasattr(cls, "__post_init__"):
        lines.append(" self.__post_init__()")
    exec(f"def __init__({', '.join(head)}):\n" + "\n".join(lines), known)  # noqa: S102 - our text
    return known["__init__"]


def _refuse(self: object, name: str, *_: object) -> None:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot assign to field {name!r}")


class _Fields:
    """``__dataclass_fields__``: what the standard functions go by, made when asked for."""

    __slots__ = ("_defaults", "_made")

    def __init__(self, defaults: dict[str, Any]) -> None:
        self._defaults = defaults
        self._made: Any = None

    def __get__(self, _: object, cls: Any) -> Any:
        if self._made is None:
            import dataclasses

            fields: list[Any] = []
            for name in cls.__slots__:
                default = self._defaults.get(name, dataclasses.MISSING)
                if isinstance(default, _Factory):
                    made: Any = dataclasses.field(default_factory=default.make)
                else:
                    made = dataclasses.field(default=default)
                fields.append((name, cls.__annotations__[name], made))
            twin = dataclasses.make_dataclass(cls.__name__, fields)
            self._made = twin.__dict__["__dataclass_fields__"]
        return self._made
