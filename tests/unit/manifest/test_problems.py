"""How a problem is shown: caret under its place, no escape sequences, annotations escaped."""

from __future__ import annotations

import pytest

from kling_batch.manifest.problems import Problem, as_github, as_json, clean, path_text, show


def test_the_caret_stands_under_the_place() -> None:
    problem = Problem("m.yaml", 3, 5, "a", "wrong", "mend it", "  - imge: knight", 4)
    assert show(problem).splitlines() == [
        "m.yaml:3:5: wrong",
        "  3 | - imge: knight",
        "    |   ^^^^",
        "  hint: mend it",
    ]


@pytest.mark.parametrize("column", [1, 50, 300, 500])
def test_long_lines_are_cut_around_the_place(column: int) -> None:
    line = "".join(chr(97 + i % 26) for i in range(500))
    shown = show(Problem("m.yaml", 1, column, "", "wrong", "", line, 3)).splitlines()
    assert max(map(len, shown)) <= 80
    caret = shown[2].index("^")
    assert shown[1][caret] == line[min(column, 500) - 1]


def test_escape_sequences_and_controls_are_stripped() -> None:
    bad = "\x1b[31mred\x1b]0;title\x07\x1b[2J\u202e\x9b"
    problem = Problem(bad, 1, 1, bad, bad, bad, bad)
    assert not any(c in show(problem) for c in "\x1b\x07\u202e\x9b")
    assert clean("\x1b[31mred\x1b[0m") == "red"
    assert clean("grün 雨") == "grün 雨"


def test_json_has_the_six_keys() -> None:
    made = as_json(Problem("f", 1, 2, "p", "m", "h", "e", 3))
    assert made == {"file": "f", "line": 1, "column": 2, "path": "p", "message": "m", "hint": "h"}


def test_annotations_are_escaped() -> None:
    made = as_github(Problem("a,b:c%.yaml", 1, 2, "p", "50%\nof it", "::error::x"))
    assert made == "::error file=a%2Cb%3Ac%25.yaml,line=1,col=2::50%25%0Aof it%0A::error::x"


def test_a_path_reads_as_the_author_would_write_it() -> None:
    assert path_text(("pairs", 3, "duration_seconds")) == "pairs[3].duration_seconds"
    assert (
        path_text(("matrix", 0, "with", "vars.weather", 1)) == 'matrix[0].with["vars.weather"][1]'
    )
    assert path_text(()) == ""
