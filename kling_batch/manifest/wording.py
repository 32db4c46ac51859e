"""The words for what has not the schema's shape: what was found, what is allowed, the mend."""

from __future__ import annotations

import re
from typing import Any

from kling_batch.manifest.nearest import nearest
from kling_batch.manifest.problems import Finding, Path, finding

ValidationError = Any
"""jsonschema's, whose stubs have its fields unset."""

_SETTINGS = ("quality_mode", "character_orientation", "duration_seconds", "prompt", "takes")
_SECRETS = ("apikey", "key", "token", "secret", "password", "authorization", "bearer", "auth")


def unknown_said(key: str, known: list[str], path: Path) -> tuple[str, str, bool]:
    folded = "".join(c for c in key.lower() if c.isalnum())
    if not path and any(folded == word or folded.endswith("api" + word) for word in _SECRETS):
        return f"`{key[:60]}`: a manifest is shared, so it must not hold a key", (
            "put it into the variable ULAZAI_API_KEY, or a .env file beside the manifest"
        ), True  # fmt: skip
    said = f"unknown key `{key[:60]}`"
    near = nearest(key, known)
    if path and path[-1] == "with":
        if key in ("prompt", "takes"):
            return (
                f"`{key}` can't be an axis",
                "use `vars.NAME` and a template in `set.prompt`",
                False,
            )
        if not near:
            return said, f"an axis is one of {_list(known)} or `vars.NAME`", False
    if near:
        return said, f"did you mean `{near}`?", False
    if not path and key in _SETTINGS:
        return said, "a setting for all jobs stands below `defaults:`", False
    return said, f"allowed here: {_list(known)}", False


def second(items: list[object]) -> int:
    return next((i for i, item in enumerate(items) if item in items[:i]), 0)


def missing(key: str, path: Path) -> Finding:
    hints = {
        "version": "start the file with `version: 1`",
        "url": "add `url: https://…`",
        "image": "add `image:` with a name from `images` or a URL",
        "video": "add `video:` with a name from `videos` or a URL",
        "images": 'add `images: "*"`, or a list of names',
        "videos": 'add `videos: "*"`, or a list of names',
    }
    return finding(path, f"`{key}` is missing", hint=hints.get(key, ""))


def name_said(key: str, error: ValidationError) -> tuple[str]:
    if error.validator == "maxLength":
        return (
            f"the name has {len(key):,} characters, at most {error.validator_value} are allowed",
        )
    if "." in error.validator_value:
        return (f"`{key[:60]}` is not a usable name: letters, digits, `.`, `_` and `-`, "
                "starting with a letter or digit",)  # fmt: skip
    return (f"`{key[:60]}` is not a usable name: letters, digits and `_`, "
            "not starting with a digit",)  # fmt: skip


def name_hint(key: str) -> str:
    """A name near the one that can't be."""
    usable = re.sub(r"[^A-Za-z0-9]+", "_", key[:40]).strip("_")
    return f"for example `{usable}`" if usable[:1].isalpha() and usable != key else "rename it"


def plainly(error: ValidationError, path: Path) -> tuple[str, str]:
    value, limit = error.instance, error.validator_value
    found = f"found {describe(value)}"
    if error.validator in ("type", "enum"):
        return f"{expected(error)}, {found}", _type_hint(error, path)
    if error.validator == "pattern":
        return _pattern_said(error, found)
    said = {
        "minimum": f"at least {limit} is allowed, {found}",
        "maximum": f"at most {limit} is allowed, {found}",
        "exclusiveMinimum": f"more than {limit} is allowed, {found}",
        "minLength": "this text is empty",
        "maxLength": f"at most {limit:,} characters are allowed, found {_size(value)}"
        if isinstance(limit, int)
        else "",
        "minItems": "this list is empty",
        "minProperties": "this mapping is empty",
        "uniqueItems": "a value stands twice in this list",
    }.get(str(error.validator), error.message)
    return said, _range_hint(error)


def _size(value: Any) -> str:
    return f"{len(value):,}" if isinstance(value, str) else "more"


def _range_hint(error: ValidationError) -> str:
    schema = error.schema
    if "minimum" in schema and "maximum" in schema:
        return f"allowed: {schema['minimum']} to {schema['maximum']}"
    return {
        "minimum": f"allowed: {schema.get('minimum')} and more",
        "exclusiveMinimum": f"allowed: more than {schema.get('exclusiveMinimum')}",
        "minLength": "write a text, or remove the key",
        "maxLength": "shorten it",
        "minItems": "list something, or remove the key",
        "minProperties": "name something in it, or remove the key",
        "uniqueItems": "each would make the same job again: keep one",
    }.get(str(error.validator), "")


def _pattern_said(error: ValidationError, found: str) -> tuple[str, str]:
    if "{4}" in error.validator_value:
        return f"expected a date, {found}", "write it as YYYY-MM-DD: 2026-11-01"
    return f"not a usable name: {found}", (
        "letters, digits, `.`, `_` and `-`, starting with a letter or digit"
    )


_TYPES = {
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "object": "a mapping",
    "array": "a list",
}


def expected(error: ValidationError) -> str:
    limit = error.validator_value
    if error.validator == "enum":
        return f"expected {_list([_scalar(value) for value in limit], 'or')}"
    if error.validator == "anyOf":
        kinds = [_TYPES.get(branch.get("type", ""), '"*"') for branch in limit]
        kinds = ["a URL or a mapping" if "$ref" in str(limit[0]) else " or ".join(kinds)]
        return f"expected {kinds[0]}"
    names = [limit] if isinstance(limit, str) else limit
    return f"expected {_list([_TYPES[name] for name in names], 'or', quoted=False)}"


def _type_hint(error: ValidationError, path: Path) -> str:
    value, limit = error.instance, error.validator_value
    if value is None:
        return "nothing stands after the colon: give a value or remove the key"
    if error.validator == "enum":
        near = nearest(str(value), [str(item) for item in limit], 0.5)
        only = f"write `{limit[0]}`" if len(limit) == 1 else ""
        return f"did you mean `{near}`?" if near else only
    if limit in ("integer", "number"):
        return _number_hint(value, whole=limit == "integer")
    if limit == "array":
        return _list_hint(value, path)
    if limit == "string" and isinstance(value, (int, float, bool)):
        return "put it in quotes if it is text"
    return "write `key: value` below it, or {key: value}" if limit == "object" else ""


def _list_hint(value: Any, path: Path) -> str:
    if isinstance(value, dict):
        return "begin each of its items with `- `"
    return f"write [{_scalar(value)[:40]}]" if path else ""


def _number_hint(value: Any, *, whole: bool) -> str:
    if isinstance(value, float) and value > 0:
        return f"write {int(value)} or {int(value) + 1}"
    if not isinstance(value, str):
        return ""
    bare = value.strip().rstrip("s").strip()
    bare = bare.removesuffix(".0") if whole else bare
    if bare.replace(".", "", 0 if whole else 1).isdigit():
        return f"write {bare} without quotes or unit"
    return "write it in digits"


def _list(items: list[str], last: str = "and", *, quoted: bool = True) -> str:
    shown = [f"`{item}`" if quoted else item for item in items]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} {last} {shown[-1]}"


def _scalar(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def describe(value: Any) -> str:
    """What was found, in a few words."""
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return f"the text `{value[:40]}{'…' if len(value) > 40 else ''}`"
    if isinstance(value, dict):
        return "a mapping"
    return "a list" if isinstance(value, list) else f"`{_scalar(value)}`"
