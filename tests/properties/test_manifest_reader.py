"""The reader agrees with PyYAML where YAML 1.1 and 1.2 do, and nothing makes it crash."""

from __future__ import annotations

from pathlib import Path

import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kling_batch.manifest.document import Unreadable, plain, read
from kling_batch.manifest.load import load_manifest
from kling_batch.manifest.places import locate
from kling_batch.manifest.problems import ManifestInvalid, Problem, as_github, as_json, show

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
