"""The reader agrees with PyYAML where YAML 1.1 and 1.2 do, and nothing makes it crash."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kling_batch.manifest import reading
from kling_batch.manifest.document import Document, Unreadable, plain, read_whole
from kling_batch.manifest.load import load_manifest
from kling_batch.manifest.places import locate
from kling_batch.manifest.problems import ManifestInvalid, Problem, as_github, as_json, show
from kling_batch.manifest.reading import read

EXAMPLES = sorted((Path(__file__).parents[2] / "manifests").glob("*.yaml"))
QUICK = settings(max_examples=150, deadline=None)

texts = st.text(
    st.characters(min_codepoint=32, max_codepoint=0x2FFF, blacklist_characters="\x7f\x85\xa0"),
    max_size=20,
).filter(lambda text: not any(0x7F <= ord(c) <= 0x9F or ord(c) in (0x2028, 0x2029) for c in text))
# What looks like a number may be one in 1.2 and a text in 1.1 (0E0, 0o17): see the next test.
words = texts.filter(lambda text: not text or text[0] not in "0123456789+-.")
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**17), 10**17)
    | st.floats(allow_nan=False, allow_infinity=False)
    | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4),
    max_leaves=20,
)


@QUICK
@given(values)
def test_reader_agrees_with_pyyaml_on_what_it_dumps(value: object) -> None:
    text = yaml.dump(value, Dumper=yaml.CSafeDumper, allow_unicode=True).encode()
    document = read(text)
    assert not document.findings
    assert document.value == value
    assert document.value == yaml.load(text, Loader=yaml.CSafeLoader)


@QUICK
@given(st.text("0123456789+-._eExobnulatrifsNy:~", max_size=8))
@example("0x1F")
@example("1_000")
@example("1:30")
def test_plain_scalars_mean_a_number_only_where_python_reads_the_same(text: str) -> None:
    try:
        value = plain(text)
    except ValueError:
        return
    if isinstance(value, float):
        assert value == float(text)
    elif isinstance(value, int) and not isinstance(value, bool):
        assert value == int(text, 0 if text[:2] in ("0x", "0o") else 10)


def _survives(text: bytes) -> None:
    problems: tuple[Problem, ...] = ()
    try:
        load_manifest(Path("fuzz.yaml"), text=text)
    except ManifestInvalid as error:
        problems = error.problems
    for problem in problems:
        assert problem.line >= 1
        assert problem.column >= 1
        assert "\x1b" not in show(problem)
        assert "\n" not in as_github(problem)
        as_json(problem)


@QUICK
@given(st.text(max_size=200) | st.text("{}[]:,-&*!|>'\"%@` \n#<?a1~", max_size=60))
@example("")
@example("{")
@example("? [a]\n: b\n<<: 1")
@example("<<: [{version: 1}, 2]")
@example("*a")
@example("a: &a\nb: *a\n*a : c")
def test_no_text_makes_the_loader_crash(text: str) -> None:
    _survives(text.encode("utf-8", "surrogatepass"))


@QUICK
@given(st.binary(max_size=100))
def test_no_bytes_make_the_loader_crash(data: bytes) -> None:
    _survives(data)


PIECES = st.sampled_from(
    [b"", b"\n", b" ", b"  ", b": ", b"- ", b"{{ x }}", b"{% for", b"[]", b"{}", b"&a ", b"*a",
     b"<<: *a\n", b"null", b"true", b"-1", b"99999", b"'", b'"', b"\t", b"!x ", b"\xff", b"../",
     b"video", b"image: [a]", b"*", b"ulazai_live_abcdef", b"http://127.0.0.1/", b"---\n"]
)  # fmt: skip


@QUICK
@given(st.data())
def test_no_mutation_of_a_good_manifest_makes_the_loader_crash(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from(EXAMPLES)).read_bytes()
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = min(len(text), start + data.draw(st.integers(0, 12)))
        text = text[:start] + data.draw(PIECES) + text[end:]
    _survives(text)


@QUICK
@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["- ", "-   ", "-\n    "])), min_size=1)
)
def test_an_item_found_by_itself_stands_where_the_whole_document_has_it(
    shapes: list[tuple[int, str]],
) -> None:
    text = "a: 1\npairs:\n"
    for index, (blank, dash) in enumerate(shapes):
        indent = "    " if dash.endswith(" ") and len(dash) == 2 else ""
        text += "\n" * blank + f"  {dash}x: {index}\n"
        text += f"{indent}y: [1, {{z: 2}}]\n" if indent else ""
    text += "last: 2\n"
    data = text.encode()
    try:
        document = read(data)
    except Unreadable:
        return
    paths = [("pairs", index, "x") for index in range(len(shapes))]
    paths += [("pairs", index, "y", 1, "z") for index in range(len(shapes))]
    quick, slow = locate(data, paths, document.starts), locate(data, paths)
    for path in paths:
        assert quick.get(path) == slow.get(path)


LINES = st.sampled_from(
    ["id: a", "image: https://a.b/c.png", "prompt: one: two", "prompt: one #two", "prompt: one#two",
     "prompt: a long, {{ id }} text?", 'prompt: "quoted: #yes"', "prompt: 'it''s'", "prompt: 'it'",
     'prompt: "a\\n"', 'prompt: "open', "prompt: >-\n      folded\n      text",
     "prompt: |\n\n      a", "prompt: two\n      lines",
     "vars: {a: 1, b: x y, c: https://a.b/c}", "vars: {a: 'x', b: [1]}",
     "vars: {a: x , b: y}", "vars: {a: 1, a: 2}", "vars: {}", "vars:\n      a: 1\n      b: two",
     "vars:\n        a: 1\n      b: two", "vars:\n      a:\n        b: 1", "vars:", "takes: 2",
     "takes: 010", "takes: -5", "takes: -", "takes: 1e400", "n: null", "n: ~", "n: ~a", "yes: no",
     "true: 1", "5: 1", "n: .nan", "n: 1:30", "x: &a b", "x: *a", "x: !!str b", "<<: {a: 1}",
     "<<: *a", "# a comment", "", "id: é", "id: \u2028", "id: \ta", "id: a\t", "id: a ", "id: a:",
     "id : a", "id:a", "? id", "- id", "---", "id: @a", "id: %a", "id: [a, b]", "a.b: 1", "-: 1"]
)  # fmt: skip


@st.composite
def lists_of_pairs(draw: st.DrawFn) -> str:
    """Pairs in block style, plain ones and others side by side."""
    indent = draw(st.sampled_from(["", "  ", "    "]))
    plain_item = st.just(["id: a", "image: knight", "vars: {n: 1, mood: calm}"])
    item = plain_item | st.lists(LINES, min_size=1, max_size=4)
    whole = st.sampled_from(
        ["{id: a, image: knight}", "{id: a,\n      b: c}", "{id: a\n      b, c: d}", "text", "[a]"]
    )
    text = ""
    for lines in draw(st.lists(item | whole.map(lambda one: [one]), max_size=5)):
        inner = f"\n{indent}  "
        text += f"{indent}- {inner.join(lines)}\n" + draw(st.sampled_from(["", "", "\n", "# x\n"]))
    return text


def _told(read_it: Callable[[bytes], Document], text: bytes) -> Any:
    try:
        document = read_it(text)
    except Unreadable as error:
        return error.finding
    # Types too: 1 is not True; keys in their order.
    return repr(document.value), document.findings, document.empty, document.starts


@settings(QUICK, max_examples=600)
@given(
    st.sampled_from(["", "version: 1\n", "x: &a {b: 1}\n", 'x: "\n', "x: |\n", "%YAML 1.2\n---\n",
                     "matrix:\n  - a: 1\n  - b\n", "pairs-: 1\n", "pairs: []\n", "{\n", "'\n"]),
    lists_of_pairs(),
    st.sampled_from(["", "last: 2\n", 'last: "\n', "...\n", "---\n", "matrix:\n- a\n", "# end",
                     "last: *a\n", " last: 1\n", "pairs:\n- a: 1\n", "}\n", "'\n", "\n\n"]),
)  # fmt: skip
@example("", "- id: a\n  prompt: 'x\n- id: b'\n", "")
@example("", "  - id: a\n  -\n    id: b\n", "")
@example("x: '\n", "- id: a\n", "'\n")
@example("{\n", "- id: a\n", "}\n")
@example("", "- prompt: |\n\n      a\n- id: a\n", "")
def test_a_list_read_apart_is_what_the_parser_makes_of_it(head: str, pairs: str, tail: str) -> None:
    text = f"{head}pairs:\n{pairs}{tail}".encode()
    whole = _told(read_whole, text)
    assert _told(read, text) == whole
    with mock.patch.object(reading, "CHUNK", 40):  # as for a list of many megabytes
        assert _told(read, text) == whole


@QUICK
@given(st.data())
def test_a_mutated_list_read_apart_is_what_the_parser_makes_of_it(data: st.DataObject) -> None:
    text = f"version: 1\npairs:\n{data.draw(lists_of_pairs())}last: 1\n".encode()
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        end = min(len(text), start + data.draw(st.integers(0, 3)))
        text = text[:start] + data.draw(PIECES) + text[end:]
    assert _told(read, text) == _told(read_whole, text)
