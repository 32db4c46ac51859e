"""Scripted faults: which calls go wrong and how, read from a YAML or JSON file.

    service: {balance: 500, submissions_per_hour: 24, job_seconds: 75, key: null, seed: 0}
    history: {lag: 5, prompts: false, absent: false, keep: 3}
    rules:
      - on: submit            # a route, a group, any, or a list of them
        nth: 2                # 2, [2, 4], "3+" or every (the default): the matching calls
        match: a fox          # part of the prompt or of the job id
        when: completed       # where the job stands (status, legacy_status, result)
        act: after            # did the service do its work before failing?
        do: {respond: {status: 502, body: "<h1>Bad gateway</h1>"}}

``service`` and ``history`` go over what the simulator was started with. A file that is only a
list is its rules. The first rule that fires decides; every rule counts its own matching calls.
`actions` lists what ``do`` may hold.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from kling_batch.errors import UsageError
from kling_batch.simulator.account import HistoryMode
from kling_batch.simulator.actions import ACTIONS, REPLACING, Effect
from kling_batch.simulator.jobs import Stage
from kling_batch.simulator.routes import POLLS, SUBMISSIONS, Route

if TYPE_CHECKING:
    from yaml import SafeLoader

FILE_LIMIT = 1 << 20
GROUPS: Mapping[str, frozenset[Route]] = {
    "any": frozenset(Route) - {Route.LEDGER, Route.TOP_UP},
    "submit": SUBMISSIONS,
    "poll": POLLS,
}
_RULE_KEYS = ("on", "nth", "match", "when", "act", "do")


@dataclass(frozen=True, slots=True)
class Nth:
    """Which of a rule's matching calls it fires on: these, or all from one on."""

    calls: frozenset[int] = frozenset()
    since: int | None = None

    def __contains__(self, call: int) -> bool:
        return call in self.calls or (self.since is not None and call >= self.since)


@dataclass(frozen=True, slots=True)
class Call:
    """What a rule may know of a call. ``about``: the texts that ``match`` is looked for in."""

    route: Route
    about: tuple[str, ...] = ()
    stage: Stage | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """One scripted fault."""

    routes: frozenset[Route]
    effect: Effect
    nth: Nth = Nth(since=1)
    match: str = ""
    when: Stage | None = None

    def matches(self, call: Call) -> bool:
        return (
            call.route in self.routes
            and any(self.match in text for text in (*call.about, ""))
            and self.when in (None, call.stage)
        )


@dataclass(frozen=True, slots=True)
class Settings:
    """What a script says of the service itself; only what was stated counts."""

    stated: Mapping[str, Any] = field(default_factory=dict)

    def over(self, name: str, given: Any) -> Any:
        return self.stated.get(name, given)


@dataclass(frozen=True, slots=True)
class FaultScript:
    """A checked script. It holds no counters: a simulator counts for itself."""

    rules: tuple[Rule, ...] = ()
    history: HistoryMode | None = None
    settings: Settings = Settings()

    @classmethod
    def load(cls, path: Path) -> FaultScript:
        """Read a file; raises UsageError that names the file and the place in it."""
        import yaml

        try:
            with path.open("rb") as file:
                text = file.read(FILE_LIMIT + 1)
            if len(text) > FILE_LIMIT:
                raise UsageError(f"{path}: larger than {FILE_LIMIT} bytes")
            # S506 doubts any loader it does not know: this one is the safe one's child.
            return cls.read(yaml.load(text, _loader()), str(path))  # noqa: S506
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"The fault script can't be read: {error}") from error
        except yaml.YAMLError as error:
            reason = " ".join(str(error).split())
            raise UsageError(f"{path} is not valid YAML: {reason}") from error

    @classmethod
    def read(cls, content: Any, source: str = "faults") -> FaultScript:
        """A script from plain values; raises UsageError that names the place."""
        if content is None:
            return cls()
        if isinstance(content, list):
            content = {"rules": content}
        try:
            given = _mapping(content, ("service", "history", "rules"))
            rules = given.get("rules") or []
            if not isinstance(rules, list):
                raise ValueError("rules: must be a list")
            return cls(
                rules=tuple(_placed(f"rule {n}", _rule, rule) for n, rule in enumerate(rules, 1)),
                history=_placed("history", _history, given.get("history")),
                settings=_placed("service", _settings, given.get("service")),
            )
        except ValueError as error:
            raise UsageError(
                f"{source}: {error}", "kling_batch/simulator/faults.py shows the format."
            ) from error


def _loader() -> type[SafeLoader]:
    """YAML's safe loader, but for one thing: ``on`` is a word and not the value true."""
    import yaml

    class Loader(yaml.SafeLoader):
        """A class of its own, so that other readers of YAML keep theirs."""

    Loader.yaml_implicit_resolvers = {
        first: [
            (tag, form) for tag, form in known if first not in "oO" or not tag.endswith(":bool")
        ]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    return Loader


def _placed(place: str, read: Callable[[Any], Any], value: Any) -> Any:
    try:
        return read(value)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from error


def _mapping(value: Any, known: Collection[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"must be a mapping of {', '.join(known)}")
    for key in value:
        if key not in known:
            raise ValueError(f"unknown key {key!r}; one of {', '.join(known)}")
    return value


def _rule(value: Any) -> Rule:
    given = _mapping(value, _RULE_KEYS)
    for key in ("on", "do"):
        if given.get(key) is None:
            raise ValueError(f"{key} is required")
    routes = _placed("on", _routes, given["on"])
    match = given.get("match", "")
    if not isinstance(match, str):
        raise ValueError("match: must be a string")
    return Rule(
        routes=routes,
        effect=_effect(given["do"], given.get("act"), routes),
        nth=_placed("nth", _nth, given.get("nth", "every")),
        match=match,
        when=_placed("when", _stage, given.get("when")),
    )


def _routes(value: Any) -> frozenset[Route]:
    names = value if isinstance(value, list) else [value]
    chosen: set[Route] = set()
    for name in names:
        if name in GROUPS:
            chosen |= GROUPS[name]
        elif name in GROUPS["any"]:
            chosen.add(Route(name))
        else:
            known = ", ".join(
                [*GROUPS, *(route.value for route in Route if route in GROUPS["any"])]
            )
            raise ValueError(f"unknown route {name!r}; one of {known}")
    return frozenset(chosen)


def _nth(value: Any) -> Nth:
    if value == "every":
        return Nth(since=1)
    if isinstance(value, str) and value.endswith("+") and value[:-1].isdecimal():
        return Nth(since=int(value[:-1]))
    calls = value if isinstance(value, list) else [value]
    if not calls or not all(type(call) is int and call >= 1 for call in calls):
        raise ValueError('must be a number from 1, a list of them, "3+" or every')
    return Nth(frozenset(cast("list[int]", calls)))


def _stage(value: Any) -> Stage | None:
    if value is None:
        return None
    try:
        return Stage(value)
    except ValueError as error:
        raise ValueError(f"must be one of {', '.join(stage.value for stage in Stage)}") from error


def _effect(do: Any, act: Any, routes: frozenset[Route]) -> Effect:
    wanted = {do: True} if isinstance(do, str) else do
    chosen = _placed("do", lambda value: _mapping(value, tuple(ACTIONS)), wanted)
    effect = Effect()
    for name, value in chosen.items():
        action = ACTIONS[name]
        if not action.routes & routes:
            where = ", ".join(sorted(route.value for route in action.routes))
            raise ValueError(f"do: {name} has no effect there, only on {where}")
        effect = _placed(f"do: {name}", partial(action.apply, effect), value)
    return effect.acting(_before(act, chosen))


def _before(act: Any, chosen: Collection[str]) -> bool:
    """Whether the service fails before its work: where its answer is replaced, by default."""
    if act not in (None, "before", "after"):
        raise ValueError("act: must be before or after")
    replaced = any(name in REPLACING for name in chosen)
    shaped = [name for name in chosen if ACTIONS[name].shapes_work]
    if act == "before" and shaped:
        raise ValueError(f"act: {shaped[0]} needs the service's work; it can't come before it")
    if act == "before" and not replaced:
        raise ValueError(f"act: before needs an answer of its own: {', '.join(sorted(REPLACING))}")
    if act is None:
        return replaced and not shaped
    return bool(act == "before")


def _history(value: Any) -> HistoryMode | None:
    if value is None:
        return None
    given = _mapping(value, [field.name for field in fields(HistoryMode)])
    checks: Mapping[str, Callable[[Any], bool]] = {
        "lag": lambda v: type(v) in (int, float) and v >= 0,
        "prompts": lambda v: type(v) is bool,
        "absent": lambda v: type(v) is bool,
        "keep": lambda v: v is None or (type(v) is int and v >= 0),
    }
    return HistoryMode(**_checked(given, checks))


def _settings(value: Any) -> Settings:
    if value is None:
        return Settings()
    checks: Mapping[str, Callable[[Any], bool]] = {
        "balance": lambda v: type(v) is int and v >= 0,
        "submissions_per_hour": lambda v: v is None or (type(v) is int and v >= 0),
        "job_seconds": lambda v: type(v) in (int, float) and v >= 0,
        "key": lambda v: v is None or (type(v) is str and v != ""),
        "seed": lambda v: type(v) is int,
    }
    return Settings(_checked(_mapping(value, tuple(checks)), checks))


def _checked(
    given: Mapping[str, Any], checks: Mapping[str, Callable[[Any], bool]]
) -> dict[str, Any]:
    for name, value in given.items():
        if not checks[name](value):
            raise ValueError(f"{name}: {value!r} does not fit")
    return dict(given)


def firing(rules: Sequence[Rule], counts: list[int], call: Call) -> Effect | None:
    """Count the call for every rule that it matches; the effect of the first one that fires."""
    effect: Effect | None = None
    for number, rule in enumerate(rules):
        if rule.matches(call):
            counts[number] += 1
            if effect is None and counts[number] in rule.nth:
                effect = rule.effect
    return effect
