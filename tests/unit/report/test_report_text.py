"""Text of others is shown, never obeyed."""

from __future__ import annotations

import pytest

from kling_batch.report.text import address, link, short_address, shown, span


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("plain", "plain"),
        ("zwei\nZeilen\tund ein Ä", "zwei\nZeilen\tund ein Ä"),
        ("\x1b[31mred", "\u241b[31mred"),
        ("nul\x00 del\x7f bel\x07", "nul\u2400 del\u2421 bel\u2407"),
        ("c1\x9b31m", "c1[U+009B]31m"),
        ("\u202egnp.exe", "[U+202E]gnp.exe"),
        ("half \ud800", "half [U+D800]"),
        ("line\r\nbreak\rback", "line\nbreak\u240dback"),
    ],
)
def test_control_characters_become_signs(text: str, seen: str) -> None:
    assert shown(text) == seen


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        "data:text/html,<script>",
        "file:///etc/passwd",
        "//cdn.example.com/x.png",
        "https:///x.png",
        "https://cdn.example.com/a b.png",
        "https://cdn.example.com/\n.png",
        ' https://cdn.example.com/"onerror="x',
        "https://[::1/x.png",
        "",
    ],
)
def test_only_web_addresses_become_links(url: str) -> None:
    assert address(url) == ""


def test_a_web_address_stays_as_it_is() -> None:
    url = "HTTPS://cdn.example.com/a/b.png?signature=x&y=%20"
    assert address(url) == url


def test_the_label_of_an_address_holds_no_query() -> None:
    assert short_address("https://cdn.example.com/a/b/c.png?signature=x") == (
        "cdn.example.com/…/c.png"
    )
    assert short_address("https://cdn.example.com/c.png") == "cdn.example.com/c.png"


def test_paths_are_percent_encoded() -> None:
    assert link("../a b/50%#?:ü.mp4") == "../a%20b/50%25%23%3F%3A%C3%BC.mp4"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.4, "0 s"), (45, "45 s"), (59.7, "1 min 00 s"), (84, "1 min 24 s"), (7500, "2 h 05 min")],
)
def test_spans_are_said_as_people_do(seconds: float, said: str) -> None:
    assert span(seconds) == said
