"""Why a value has not the schema's shape, said for its author; and what can still be checked.

The compiled checks (schema.py) say yes or no. jsonschema is loaded only for what failed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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

_STAND_INS: dict[str, Any] = {
    "quality_mode": "720p",
    "character_orientation": "video",
    "duration_seconds": 3,
    "prompt": "-",
    "takes": 1,
}
"""Stand for settings that are wrong, so that one mistake is not told twice."""


@dataclass(slots=True)
class Shape:
    """What was found, and the document without it. ``blind``: variables are missing from it."""

    value: dict[str, Any]
    findings: list[Finding]
    blind: bool = False


def inspect(checks: Checks, value: Any) -> Shape:
    """The document's faults of shape. In what is returned, unusable parts are None or gone."""
    if not isinstance(value, dict):
        said = f"a manifest is a mapping, found {describe(value)}"
        return Shape({}, [finding((), said, hint="start with `version: 1`")], blind=True)
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
        shape.value[section] = mended(value, found, 1)
    else:
        del shape.value[section]
        shape.blind = shape.blind or section == "vars"


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
            copy[place] = mended(item, found, 2) if section == "pairs" else None
    frame = {key: inner for key, inner in schema.items() if key != "items"}
    if isinstance(value, dict) and not all(map(checks.check(schema["propertyNames"]), value)):
        frame["additionalProperties"] = {}
        shape.findings += explain.findings(frame, value, (section,))
    shape.value[section] = copy


def mended(item: Any, findings: Iterable[Finding], depth: int) -> dict[str, Any] | None:
    """The item with stand-ins for wrong settings and without unknown keys; None: beyond that."""
    if not isinstance(item, dict):
        return dict(_STAND_INS) if depth == 1 else None
    made = dict(item)
    for found in findings:
        if len(found.path) <= depth:
            return None
        key = str(found.path[depth])
        if key in _STAND_INS:
            made[key] = _STAND_INS[key]
        elif depth > 1 and key in ("id", "image", "video", "vars"):
            return None
        else:
            made.pop(key, None)
    # A misspelt `image` was told as an unknown key only.
    return made if depth == 1 or ("image" in made and "video" in made) else None


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
        meant = {
            (said.path[:-1], f"`{said.hint[14:-2]}` is missing")
            for said in found.values()
            if said.hint.startswith("did you mean")
        }
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
