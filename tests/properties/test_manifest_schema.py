"""The compiled checks and jsonschema say the same of every value."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from kling_batch.manifest.reading import read
from kling_batch.manifest.schema import Checks, load_schema
from kling_batch.manifest.shape import inspect

SCHEMA = load_schema()
CHECKS = Checks(SCHEMA)
CHECK = CHECKS.check(SCHEMA)
VALIDATOR = Draft7Validator(SCHEMA)
EXAMPLES = [
    read(p.read_bytes()).value for p in (Path(__file__).parents[2] / "manifests").glob("*.yaml")
]
WORDS = [
    "version", "name", "defaults", "vars", "images", "videos", "pairs", "matrix", "with", "set",
    "exclude", "vars.a", "vars.9", "url", "takes", "prompt", "quality_mode", "720p", "*", "a\n",
    "character_orientation", "image", "video", "duration_seconds", "", "2026-11-01", "id",
]  # fmt: skip
scalars = (
    st.none() | st.booleans() | st.integers(-2, 40) | st.sampled_from([1.0, 5.0, 5.5, 1e17])
    | st.sampled_from(WORDS) | st.text(max_size=5)
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


def mutate(data: st.DataObject, value: Any) -> Any:
    """The value with one part of it replaced, removed or added."""
    if isinstance(value, dict) and value and data.draw(st.booleans()):
        key = data.draw(st.sampled_from(sorted(value)))
        value[key] = mutate(data, value[key])
        return value
    if isinstance(value, list) and value and data.draw(st.booleans()):
        index = data.draw(st.integers(0, len(value) - 1))
        value[index] = mutate(data, value[index])
        return value
    if isinstance(value, dict) and data.draw(st.booleans()):
        value[data.draw(st.sampled_from(WORDS))] = data.draw(values)
        return value
    return data.draw(values)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_compiled_checks_agree_with_jsonschema(data: st.DataObject) -> None:
    value = mutate(data, copy.deepcopy(data.draw(st.sampled_from(EXAMPLES))))
    valid = VALIDATOR.is_valid(value)
    assert CHECK(value) is valid
    assert (not inspect(CHECKS, value).findings) is valid


def test_a_keyword_without_a_meaning_is_refused_not_ignored() -> None:
    with pytest.raises(ValueError, match="multipleOf"):
        Checks({}).check({"type": "integer", "multipleOf": 2})


def test_a_remote_reference_is_never_followed() -> None:
    with pytest.raises(ValueError, match="example"):
        Checks({}).check({"$ref": "https://example.com/schema.json"})


def test_the_schema_is_a_valid_draft_7_schema_that_closes_its_mappings() -> None:
    Draft7Validator.check_schema(SCHEMA)
    for definition in (SCHEMA, *SCHEMA["definitions"].values()):
        if definition.get("type") == "object" and "properties" in definition:
            assert definition["additionalProperties"] is False
