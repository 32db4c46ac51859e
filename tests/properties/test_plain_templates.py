"""Templates of plain names, which are filled in without Jinja, come out as Jinja has them."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kling_batch.manifest.bounds import MAX_OUTPUT, MAX_SOURCE, TemplateFault, group
from kling_batch.manifest.prompt import Templates, plain

# Small, so that names meet marks, braces, ends of lines and Jinja's own words often.
PARTS = [
    "{{", "}}", "{{ ", " }}", "{{-", "-}}", "{{+", "{%", "%}", "{#", "#}", "{", "}", "\n", "\r\n",
    "\t", " ", "\v", "\x85", "\xa0", "\u2028", "雨", "dances", ".", "..", "|", "-", "'", "\\",
    "image", "video", "vars", "id", "take", "label", "name", "duration_seconds", "none", "true",
    "self", "loop", "range", "not", "_a", "a9", "9", "nothing", "long", "flag", "empty", "list",
    "{{ id }}", "{{take}}", "{{ image.label }}", "{{ vars.flag }}", "{{\nvars.true }}",
    "{{ vars.nothing }}", "{{ vars.list }}", "{{ vars.mising }}", "{{ image }}", "{{ id.name }}",
    "{{ vars . flag }}", "{{ vars.a.b }}", "{{ unknown }}", "{{ vars.empty }}", "{{ vars.wide }}",
]  # fmt: skip
templates = st.lists(st.sampled_from(PARTS) | st.text(max_size=3), max_size=12).map("".join)
values = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
WIDE = "x" * (MAX_OUTPUT // 4 + 1)


def scope_of(value: object) -> dict[str, object]:
    variables = {
        "flag": value, "true": True, "none": "n", "nothing": None, "list": [1, "a"], "empty": "",
        "_a": "{{ id }}", "a9": 0.1, "not": -0.0, "items": "i", "get": "g", "wide": WIDE,
    }  # fmt: skip
    return {
        "image": group("image", {"label": value, "name": "knight", "url": "https://a.b/c"}),
        "video": group("video", {"name": "waltz", "url": "u", "duration_seconds": 5}),
        "vars": group("vars", variables),
        "id": "a--b",
        "take": 2,
        "quality_mode": "720p",
        "character_orientation": "video",
        "duration_seconds": 5,
    }


def outcome(render, text, scope):
    try:
        return render(text, scope)
    except TemplateFault as fault:
        return fault.message, fault.hint, fault.needle, fault.row


@settings(max_examples=500, deadline=None)
@given(templates, values)
@example("{{ vars.wide }}" * 4, 1)
@example("{{ id }}" + " " * MAX_SOURCE, 1)
@example("{{ id }}\r\n{{ take }}\n", 1)
@example("{{{ id }}}", 1)
@example("{ {{ id }} }", 1)
@example("{{ vars.items }}{{ vars.get }}", 1)
def test_both_ways_end_alike(text: str, value: object) -> None:
    scope = scope_of(value)
    if "{{" in text or "{%" in text or "{#" in text:
        assert outcome(Templates().render, text, scope) == outcome(
            Templates().by_jinja, text, scope
        )


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("{{ image.name }} and {{video.name}}, {{ take }}.\n", "knight and waltz, 2.\n"),
        ("{{ vars.true }}", "True"),
        ("{{ vars._a }}", "{{ id }}"),
    ],
)  # fmt: skip
def test_plain_templates_take_the_short_way(text: str, made: str) -> None:
    assert plain(text) is not None
    assert Templates().render(text, scope_of(1)) == made


@pytest.mark.parametrize("text", ["{{ id | upper }}", "{% if take %}a{% endif %}", "{{ id }}{# #}"])
def test_others_do_not(text: str) -> None:
    assert plain(text) is None
