"""One mistake hides no other: what is wrong elsewhere in a job is told at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from kling_batch.manifest.load import load_manifest
from kling_batch.manifest.problems import ManifestInvalid

HEAD = """\
version: 1
defaults: {quality_mode: 720p, duration_seconds: 5, prompt: "PROMPT"}
images: {knight: "IMAGE"}
videos: {waltz: "https://cdn.example.com/w.mp4"}
"""


def messages(path: Path) -> list[str]:
    with pytest.raises(ManifestInvalid) as told:
        load_manifest(path)
    return [problem.message for problem in told.value.problems]


def test_a_private_url_does_not_hide_a_broken_template(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    text = HEAD.replace("PROMPT", "{{ image.nmae }}").replace("IMAGE", "http://10.0.0.7/k.png")
    path.write_text(text + "pairs: [{image: knight, video: waltz}]\n")
    template, url = messages(path)
    assert "image.nmae" in template
    assert "10.0.0.7" in url


def test_a_wrong_length_in_a_table_does_not_hide_an_unknown_image(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("image,video,duration_seconds\nknigt,waltz,99\n")
    path = tmp_path / "m.yaml"
    text = HEAD.replace("PROMPT", "dances").replace("IMAGE", "https://cdn.example.com/k.png")
    path.write_text(text + "pairs_from: [t.csv]\n")
    found = messages(path)
    assert len(found) == 2
    assert any("knigt" in one for one in found)
    assert any("99" in one for one in found)


def test_a_setting_that_defaults_can_not_have_does_not_hide_those_it_has(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    for key in ("vars: {x: 1}", "id: a"):
        text = HEAD.replace("PROMPT", "dances").replace("IMAGE", "https://cdn.example.com/k.png")
        path.write_text(
            text.replace("quality_mode", f"{key}, quality_mode")
            + "pairs: [{image: knight, video: waltz}]\n"
        )
        (only,) = messages(path)
        assert f"unknown key `{key.partition(':')[0]}`" in only


def test_a_section_that_stands_twice_does_not_hide_what_both_define(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    text = HEAD.replace("PROMPT", "dances").replace("IMAGE", "https://cdn.example.com/k.png")
    path.write_text(
        text
        + "images: {robot: 'https://cdn.example.com/r.png'}\ndefaults: {takes: 2}\n"
        + "pairs: [{image: knight, video: waltz}, {image: robot, video: waltz}]\n"
    )
    assert [one.partition(" stands")[0] for one in messages(path)] == ["`images`", "`defaults`"]


def problems(path: Path, text: str) -> list[tuple[int, int, str, str]]:
    whole = HEAD.replace("PROMPT", "dances").replace("IMAGE", "https://cdn.example.com/k.png")
    path.write_text(whole + text)
    with pytest.raises(ManifestInvalid) as told:
        load_manifest(path)
    return [(one.line, one.column, one.message, one.hint) for one in told.value.problems]


def test_a_second_merge_is_a_key_that_stands_twice(tmp_path: Path) -> None:
    text = "pairs:\n- &p {image: knight, video: waltz}\n- {<<: *p, <<: {takes: 2}, id: f}\n"
    ((line, column, message, _),) = problems(tmp_path / "m.yaml", text)
    assert (line, column) == (7, 12)
    assert "`<<` stands here a second time; first at line 7, column 4" in message


def test_the_value_that_stands_twice_on_an_axis_is_the_one_that_is_marked(tmp_path: Path) -> None:
    text = 'matrix:\n- {images: "*", videos: "*", with: {vars.w: [true, x, 1, 1.0]}}\n'
    ((line, column, _, _),) = problems(tmp_path / "m.yaml", text)
    assert (line, column) == (6, 58)


def test_jobs_of_a_table_and_of_the_manifest_that_share_an_id_are_both_named(
    tmp_path: Path,
) -> None:
    (tmp_path / "t.csv").write_text("id,image,video\nhero,knight,waltz\n")
    text = "pairs: [{id: hero, image: knight, video: waltz}]\npairs_from: [t.csv]\n"
    ((_, _, message, _),) = problems(tmp_path / "m.yaml", text)
    assert "first at pairs[0].id of the manifest, line 5" in message


def test_two_cells_of_one_block_with_one_id_are_not_told_to_state_an_id(tmp_path: Path) -> None:
    text = 'matrix:\n- {images: "*", videos: "*", with: {vars.w: [a b, a/b]}}\n'
    ((_, _, _, hint),) = problems(tmp_path / "m.yaml", text)
    assert "axis values of this block" in hint


def test_a_quote_that_is_never_closed_is_shown_where_it_opens(tmp_path: Path) -> None:
    text = 'vars: {a: 1}\npairs:\n- {image: knight, prompt: "open}\n'
    ((line, column, message, _),) = problems(tmp_path / "m.yaml", text)
    assert "this is not YAML" in message
    assert (line, column) == (7, 27)


def test_every_unknown_name_of_a_template_is_told_once(tmp_path: Path) -> None:
    inputs = "image: knight, video: waltz"
    text = (
        f"pairs:\n- {{{inputs}, prompt: '{{{{vras.x}}}}{{{{image.foo}}}}{{{{bar}}}}{{{{bar}}}}'}}\n"
        f"- {{id: b, {inputs}, prompt: '{{% set z = 1 %}}{{{{ z }}}} {{{{ c }}}} {{{{ d }}}}'}}\n"
    )
    found = [message.partition(" (")[0] for _, _, message, _ in problems(tmp_path / "m.yaml", text)]
    assert found == [f"unknown variable `{name}`" for name in ("vras", "image.foo", "bar", "c")]


def test_a_bracket_that_is_never_closed_is_shown_in_the_last_line_that_there_is(
    tmp_path: Path,
) -> None:
    for end in ("", "\n", "\n\n\n"):
        ((line, column, _, hint),) = problems(tmp_path / "m.yaml", f"pairs: [{end}")
        assert (line, column) == (5, 8)
        assert "a bracket is not closed" in hint


def test_a_column_that_every_row_needs_is_missed_once(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("imgae,video\nknight,waltz\nknight,waltz\n")
    ((line, column, message, hint),) = problems(tmp_path / "m.yaml", "pairs_from: [t.csv]\n")
    assert (line, column, message) == (1, 1, "there is no column `image`")
    assert "imgae" in hint


def test_a_wrong_word_that_is_like_a_key_hides_nothing(tmp_path: Path) -> None:
    text = "pairs:\n- {image: knight, video: walz, character_orientation: vidoe}\n"
    found = [message for _, _, message, _ in problems(tmp_path / "m.yaml", text)]
    assert len(found) == 2
    assert any("`walz`" in one for one in found)


def test_a_mistake_in_a_pair_hides_no_other_of_it(tmp_path: Path) -> None:
    text = (
        "pairs:\n- {image: knigth, video: waltz, id: a, prompt: '{{ vars.x }}'}\n"
        "- {image: knight, video: waltz, id: a, prompt: '{{ image.mood }}', takes: 0}\n"
        "- {image: knigth, video: waltz, prompt: '{{ image.mood }}'}\n"
    )
    told = [(line, said) for line, _, said, _ in problems(tmp_path / "m.yaml", text)]
    assert [line for line, _ in told] == [6, 6, 7, 7, 7, 8]
    # What may come of the image that is not known is not said.
    assert [said for _, said in told if "image.mood" in said] == [
        "unknown variable `image.mood` (job `a`)"
    ]


def test_a_variable_with_a_wrong_value_is_still_known_by_name(tmp_path: Path) -> None:
    text = (
        "vars: {place: [Rome]}\n"
        "pairs: [{image: knight, video: waltz, prompt: '{{ vars.plce }} {{ vars.place.x }}'}]\n"
    )
    value, template = problems(tmp_path / "m.yaml", text)
    assert "found a list" in value[2]
    assert "`vars.plce`" in template[2]
    assert "did you mean `vars.place`" in template[3]
