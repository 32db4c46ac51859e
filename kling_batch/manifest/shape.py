"""Why a value has not the schema's shape, said for its author; and what can still be checked.

The compiled checks (schema.py) say yes or no. jsonschema is loaded only for what failed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from kling_batch.manifest.problems import Finding, Path, finding
from kling_batch.manifest.schema import Checks, Schema, identity
from kling_batch.manifest.wording import (
    ValidationError,
    describe,
    expected,
    missing,
    name_hint,
    name_said,
    plainly,
    second,
    unknown_said,
)
from kling_batch.structs import dataclass

STAND_INS: dict[str, Any] = {
    "quality_mode": "720p",
    "character_orientation": "video",
    "duration_seconds": 3,
    "prompt": "-",
    "takes": 1,
}
"""Stand for settings that are wrong, so that one mistake is not told twice."""


class Mended(dict[str, Any]):
    """A pair or a matrix block without what is wrong in it, so that the rest can be looked at.

    ``doubts``: what is not as its author meant it: ``id``, ``image``, ``video``, ``vars``; of a
    block that can't be expanded, ``images``, ``videos``, ``with``.
    """

    doubts: frozenset[str]


@dataclass(slots=True)
class Shape:
    """What was found, and the document without it; ``doubts`` are variables that are missing."""

    value: dict[str, Any]
    findings: list[Finding]
    doubts: frozenset[str] = frozenset()


def inspect(checks: Checks, value: Any) -> Shape:
    """The document's faults of shape. In what is returned, unusable parts are None or gone."""
    if not isinstance(value, dict):
        said = f"a manifest is a mapping, found {describe(value)}"
        return Shape({}, [finding((), said, hint="start with `version: 1`")])
    shape = Shape(dict(value), [])
    explain = Explainer(checks)
    for section, schema in checks.root["properties"].items():
        if section in shape.value:
            _inspect_section(checks, explain, shape, section, checks.resolve(schema))
    rest = {key: item for key, item in value.items() if key not in checks.root["properties"]}
    top = {**checks.root, "properties": {key: {} for key in checks.root["properties"]}}
    known = {key: None for key in value if key in checks.root["properties"]}
    if rest or not known.keys() >= set(checks.root["required"]):
        shape.findings += explain.findings(top, {**rest, **known}, ())
    for key in rest:
        del shape.value[key]
    return shape


def _inspect_section(
    checks: Checks, explain: Explainer, shape: Shape, section: str, schema: Schema
) -> None:
    value = shape.value[section]
    items = schema.get("items") if isinstance(value, list) else schema.get("additionalProperties")
    if isinstance(items, dict) and section != "vars" and isinstance(value, (list, dict)):
        _inspect_items(checks, explain, shape, section, schema, items)
        return
    if checks.check(schema)(value):
        return
    found = explain.findings(schema, value, (section,))
    shape.findings += found
    if section == "defaults":
        shape.value[section] = mended(value, found, 1) or dict(STAND_INS)
    elif section == "vars":
        _mend_variables(shape, found)
    else:
        del shape.value[section]


def _mend_variables(shape: Shape, findings: Iterable[Finding]) -> None:
    """Leave out what is no name and put stand-ins for wrong values: the rest is still true."""
    wrong = {found.path[1:2] for found in findings}
    if () in wrong or not isinstance(shape.value["vars"], dict):
        del shape.value["vars"]
        shape.doubts = frozenset({"vars"})
        return
    # A wrong value's name is known all the same, and may be what a misspelt one was meant for.
    unnamed = {found.path[1] for found in findings if found.on_key}
    shape.value["vars"] = {
        name: STAND_INS["prompt"] if (name,) in wrong else value
        for name, value in shape.value["vars"].items()
        if name not in unnamed
    }
    shape.doubts = frozenset(f"vars.{name}" for (name,) in wrong)


def _inspect_items(
    checks: Checks, explain: Explainer, shape: Shape, section: str, schema: Schema, items: Schema
) -> None:
    value = shape.value[section]
    check = checks.check(items)
    places = enumerate(value) if isinstance(value, list) else value.items()
    copy = value
    for place, item in list(places) if isinstance(value, dict) else places:
        if not check(item):
            copy = copy if copy is not value else value.copy()
            found = explain.findings(items, item, (section, place))
            shape.findings += found
            copy[place] = _mended_item(section, item, found)
    frame = {key: inner for key, inner in schema.items() if key != "items"}
    if isinstance(value, dict) and not all(map(checks.check(schema["propertyNames"]), value)):
        frame["additionalProperties"] = {}
        shape.findings += explain.findings(frame, value, (section,))
    shape.value[section] = copy


def _mended_item(section: str, item: Any, findings: Sequence[Finding]) -> Mended | None:
    if section == "pairs":
        return mended(item, findings, 2)
    if section == "matrix" and isinstance(item, dict):
        return _mended_block(item, findings)
    return None


def _mended_block(block: dict[str, Any], findings: Sequence[Finding]) -> Mended:
    """The block without wrong axis values, and with stand-ins for wrong settings of its `set`."""
    made = Mended(block)
    wrong = {found.path[2:3] for found in findings}
    values = {found.path[3:5] for found in findings if found.path[2:3] == ("with",)}
    if wrong <= {("set",), ("with",)} and all(len(value) == 2 for value in values):
        doubts = {"id"}
        if ("set",) in wrong:
            said = [found for found in findings if found.path[2] == "set"]
            given = mended(block["set"], said, 3)
            made["set"] = dict(STAND_INS) if given is None else given
            doubts |= {"vars"} if given is None else given.doubts & {"vars"}
        axes = {
            key: [one for index, one in enumerate(listed) if (key, index) not in values]
            for key, listed in block.get("with", {}).items()
        }
        if all(axes.values()):
            made["with"], made.doubts = axes, frozenset(doubts)
            return made
    made.doubts = frozenset({"with", *(side for side in ("images", "videos") if (side,) in wrong)})
    return made


def mended(item: Any, findings: Iterable[Finding], depth: int) -> Mended | None:
    """The settings or the pair with stand-ins for what is wrong; None where it is no mapping.

    A pair's wrong image or video is gone from it, and what it would be called is in doubt.
    """
    if not isinstance(item, dict):
        return None
    made, doubts = Mended(item), set()
    for found in findings:
        # A misspelt key was told as that, and not as one that is missing.
        for key in (_meant(found), *map(str, found.path[depth : depth + 1])):
            if key in STAND_INS:
                made[key] = STAND_INS[key]
            else:
                made.pop(key, None)
                doubts |= {key} & {"id", "image", "video", "vars"}
    made.doubts = frozenset(doubts | {"image", "video"} - made.keys())
    return made


def _meant(found: Finding) -> str:
    """The key that a misspelt one was meant for; empty where that is not what was found."""
    misspelt = found.on_key and found.hint.startswith("did you mean `")
    return found.hint[14:-2] if misspelt else ""


class Explainer:
    """Turns jsonschema's errors into findings."""

    def __init__(self, checks: Checks) -> None:
        self._checks = checks
        self._validators: dict[int, tuple[Schema, Any]] = {}

    def findings(self, schema: Schema, value: Any, path: Path) -> list[Finding]:
        """Everything about this value that the schema does not allow."""
        found: dict[tuple[Path, str], Finding] = {}
        for error in self._errors(schema, value):
            for said in self._said(error, path):
                found.setdefault((said.path, str(said.said[0])), said)
        meant = {(said.path[:-1], f"`{_meant(said)}` is missing") for said in found.values()}
        return [said for key, said in found.items() if key not in meant]

    def _errors(self, schema: Schema, value: Any) -> Iterator[ValidationError]:
        from jsonschema import Draft7Validator

        resolved = self._checks.resolve(schema)
        if id(resolved) not in self._validators:
            whole = {**resolved, "definitions": self._checks.root["definitions"]}
            # The schema is kept too: a freed one's id would stand for another.
            self._validators[id(resolved)] = resolved, Draft7Validator(whole)
        yield from self._validators[id(resolved)][1].iter_errors(value)

    def _said(self, error: ValidationError, base: Path) -> Iterator[Finding]:
        path = (*base, *error.absolute_path)
        if "propertyNames" in error.relative_schema_path:
            key = str(error.instance)
            yield finding((*path, key), *name_said(key, error), hint=name_hint(key), on_key=True)
        elif error.validator == "additionalProperties":
            yield from self._unknown_keys(error, path)
        elif error.validator == "required":
            for key in error.validator_value:
                if key not in error.instance:
                    yield missing(key, path)
        elif error.validator == "anyOf":
            yield from self._branch(error, base)
        elif error.validator == "uniqueItems":
            said, hint = plainly(error, path)
            seen = [identity(item) for item in error.instance]
            yield finding((*path, second(seen)), said, hint=hint)
        else:
            said, hint = plainly(error, path)
            yield finding(path, said, hint=hint)

    def _branch(self, error: ValidationError, base: Path) -> Iterator[Finding]:
        """Of several shapes, the one whose type the value has is what the author meant."""
        meant = "object" if isinstance(error.instance, dict) else "array"
        meant = "string" if isinstance(error.instance, str) else meant
        for index, branch in enumerate(error.validator_value):
            resolved = self._checks.resolve(branch)
            if resolved.get("type") == meant:
                for inner in error.context or ():
                    if inner.relative_schema_path[0] == index:
                        yield from self._said(inner, base)
                return
        path = (*base, *error.absolute_path)
        key = path[-1] if path else ""
        hint = f'write `{key}: "*"` for all of them' if key in ("images", "videos") else ""
        if isinstance(error.instance, str):
            hint = f"write `{key}: [{error.instance[:40]}]`"
        yield finding(path, f"{expected(error)}, found {describe(error.instance)}", hint=hint)

    def _unknown_keys(self, error: ValidationError, path: Path) -> Iterator[Finding]:
        schema = error.schema
        known = [str(key) for key in schema.get("properties", {})]
        checks = [self._checks.check({"type": "string", "pattern": pattern})
                  for pattern in schema.get("patternProperties", {})]  # fmt: skip
        for key in error.instance:
            if key not in known and not any(check(key) for check in checks):
                said, hint, secret = unknown_said(str(key), known, path)
                yield Finding((*path, key), (said,), hint, on_key=True, secret=secret)
