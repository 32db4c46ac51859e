"""What a good manifest becomes: layers of settings, ids, prompts, tables, prices."""

from __future__ import annotations

import gc
import subprocess
import sys
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from kling_batch.errors import ExitCode
from kling_batch.manifest.load import load_manifest, manifest_name
from kling_batch.manifest.problems import ManifestInvalid
from kling_batch.model import Job, Manifest

HEAD = """
version: 1
defaults: {quality_mode: 720p, duration_seconds: 5, prompt: dance}
images: {knight: https://cdn.example.com/knight.png, robot: https://cdn.example.com/robot.png}
videos:
  waltz: {url: "https://cdn.example.com/waltz.mp4", duration_seconds: 12}
  spin: https://cdn.example.com/spin.mov
"""


def load(
    text: str, folder: Path = Path(), name: str = "m.yaml", *, private: bool = False
) -> Manifest:
    return load_manifest(folder / name, text=text.encode(), private_urls=private)


def jobs(text: str) -> dict[str, Job]:
    return {job.id: job for job in load(HEAD + text).jobs}


def problem(text: str) -> str:
    with pytest.raises(ManifestInvalid) as caught:
        load(text)
    return caught.value.problems[0].message


def test_an_id_is_made_of_names_and_takes_count_from_the_second() -> None:
    made = jobs("pairs: [{image: knight, video: waltz, takes: 3}]")
    assert list(made) == ["knight--waltz", "knight--waltz.take2", "knight--waltz.take3"]
    assert {job.pair for job in made.values()} == {"knight--waltz"}
    assert [job.take for job in made.values()] == [1, 2, 3]
    assert made["knight--waltz.take2"].output == "knight--waltz.take2.mp4"


def test_a_url_goes_by_its_last_part_made_safe() -> None:
    made = jobs(
        'pairs: [{image: "https://cdn.example.com/a/Red%20knight.v2.png?x=1", '
        'video: "https://cdn.example.com/%E9%9B%A8.mp4"}]'
    )
    (name,) = made
    assert name.startswith("Red-knight.v2--")
    assert len(name.split("--")[1]) == 8


@pytest.mark.parametrize(
    ("pair", "expected"),
    [
        ("{image: knight, video: spin}", 5),
        ("{image: knight, video: waltz}", 12),
        ("{image: knight, video: waltz, duration_seconds: 7}", 7),
        ("{image: knight, video: waltz, duration_seconds: 7.0}", 7),
    ],
)
def test_a_pair_wins_over_its_video_and_a_video_over_defaults(pair: str, expected: int) -> None:
    (job,) = jobs(f"pairs: [{pair}]").values()
    assert job.request.duration_seconds == expected
    assert type(job.request.duration_seconds) is int


def test_an_axis_wins_over_set_and_set_over_the_video() -> None:
    made = jobs("""
matrix:
  - {images: [knight], videos: [waltz], set: {duration_seconds: 8}}
  - {images: [robot], videos: [waltz], set: {duration_seconds: 8}, with: {duration_seconds: [3, 4]}}
""")
    assert {name: job.request.duration_seconds for name, job in made.items()} == {
        "knight--waltz": 8,
        "robot--waltz--3": 3,
        "robot--waltz--4": 4,
    }


def test_variables_are_layered_from_the_manifest_to_the_pair() -> None:
    made = jobs("""
vars: {a: top, b: top, c: top}
matrix:
  - images: [knight]
    videos: [spin]
    with: {vars.c: [axis]}
    set: {prompt: "{{ vars.a }} {{ vars.b }} {{ vars.c }}", vars: {b: set, c: set}}
pairs:
  - {id: p, image: knight, video: spin, prompt: "{{ vars.a }} {{ vars.b }}", vars: {b: pair}}
""")
    assert made["knight--spin--axis"].request.prompt == "top set axis"
    assert made["p"].request.prompt == "top pair"


def test_axes_stand_in_ids_in_the_order_of_their_names() -> None:
    text = "matrix: [{images: [knight], videos: [spin], with: {%s}}]"
    one = jobs(text % "vars.weather: [light rain], quality_mode: [1080p]")
    other = jobs(text % "quality_mode: [1080p], vars.weather: [light rain]")
    assert list(one) == list(other) == ["knight--spin--1080p--light-rain"]


def test_excluded_cells_are_left_out_by_all_their_keys() -> None:
    made = jobs("""
matrix:
  - images: "*"
    videos: "*"
    with: {quality_mode: [720p, 1080p], vars.lit: [true, false]}
    exclude: [{image: robot}, {video: spin, quality_mode: 1080p}, {vars.lit: false}]
""")
    assert list(made) == [
        "knight--waltz--720p--true",
        "knight--waltz--1080p--true",
        "knight--spin--720p--true",
    ]


def test_a_matrix_that_excludes_everything_is_fine_beside_other_jobs() -> None:
    block = "matrix: [{images: [knight], videos: [spin], exclude: [{image: knight}]}]\n"
    assert len(jobs(block + "pairs: [{image: knight, video: waltz}]")) == 1
    assert "no job" in problem(HEAD + block)


def test_a_prompt_sees_everything_the_format_promises_and_is_stripped() -> None:
    made = jobs("""
pairs:
  - image: knight
    video: waltz
    takes: 2
    prompt: |2

        {{ image.name }} {{ image.url }} {{ video.name }} {{ video.duration_seconds }}
      {{ id }} {{ take }} {{ quality_mode }} {{ character_orientation }} {{ duration_seconds }}

""")
    prompt = made["knight--waltz.take2"].request.prompt
    assert prompt.split() == [
        "knight", "https://cdn.example.com/knight.png", "waltz", "12",
        "knight--waltz.take2", "2", "720p", "video", "12",
    ]  # fmt: skip
    assert prompt == prompt.strip()


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ image.name | upper }} {# note #}!", "KNIGHT !"),
        ("{% if take > 1 %}again{% else %}first{% endif %}", "first"),
        ("{% for w in ['a', 'b'] %}{{ w }}{% if not loop.last %}, {% endif %}{% endfor %}", "a, b"),
        ("{% set x = vars.n + 1 %}{{ x * 2 }}", "8"),
        ("{{ vars.none | default('calm') }} {{ 'y' if vars.x is defined else 'n' }}", "calm n"),
        ("{{ ['a', 'b'] | join(' and ') }} {{ 'abc'[1:] }} {{ 1 ~ 'x' }}", "a and b bc 1x"),
        ("{{ vars['n'] }} {{ 7 // 2 }} {{ (7 / 2) | round }} {{ -vars.n }}", "3 3 4.0 -3"),
        ("{{ '{{' }} braces", "{{ braces"),
        ("{ not a template }", "{ not a template }"),
        ("<b>&</b> {{ 'a<b' }}", "<b>&</b> a<b"),
    ],
)
def test_templates_have_what_prompts_need(template: str, expected: str) -> None:
    pair = f"  - image: knight\n    video: spin\n    prompt: |-\n      {template}"
    (job,) = jobs(f"vars: {{n: 3}}\npairs:\n{pair}").values()
    assert job.request.prompt == expected


def test_prices_are_exact_and_a_missing_rate_is_the_built_in_one() -> None:
    text = "pricing: {as_of: 2026-11-01, credits_per_second: {1080p: 25}, usd_per_credit: 0.1}\n"
    pricing = load(HEAD + text + "pairs: [{image: knight, video: spin}]").pricing
    assert pricing.as_of == date(2026, 11, 1)
    assert pricing.credits_per_second == {"720p": 12, "1080p": 25}
    assert pricing.usd_per_credit == Decimal("0.1")


def test_service_budget_and_output_are_taken_over(tmp_path: Path) -> None:
    text = HEAD + (
        "name: spring\nbudget: {max_credits: 0, min_balance: 7}\n"
        "service: {contract: legacy, submissions_per_hour: 3, max_in_flight: 2}\n"
        "output: {directory: out/v, filename: '{{ image.name }}/{{ id }}.mp4'}\n"
        "pairs: [{image: knight, video: spin}]\n"
    )
    manifest = load(text, tmp_path)
    assert (manifest.budget.max_credits, manifest.budget.min_balance) == (0, 7)
    assert (manifest.service.contract, manifest.service.submissions_per_hour) == ("legacy", 3)
    assert manifest.output_directory == tmp_path / "out" / "v"
    assert manifest.jobs[0].output == "knight/knight--spin.mp4"
    assert (manifest.name, manifest.directory) == ("spring", tmp_path)


def test_output_goes_below_the_name_when_nothing_is_said(tmp_path: Path) -> None:
    manifest = load(HEAD + "pairs: [{image: knight, video: spin}]", tmp_path, "dance.yaml")
    assert manifest.name == "dance"
    assert manifest.output_directory == tmp_path / "outputs" / "dance"


def test_an_output_folder_that_is_a_link_elsewhere_is_refused(tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    (base / "outputs").symlink_to(tmp_path)
    with pytest.raises(ManifestInvalid, match="through a link"):
        load(HEAD + "pairs: [{image: knight, video: spin}]", base)


def test_yaml_has_its_1_2_meanings_and_merges_work() -> None:
    made = jobs("""
vars: {no: no, yes: yes, on: on, time: 1:30, day: 2026-11-01, octal: 0o17, hex: 0x1F, float: 1.5}
pairs:
  - &first {id: a, image: knight, video: spin,
     prompt: "{{ vars.no }} {{ vars.time }}, {{ vars.day }}"}
  - {<<: *first, id: b, duration_seconds: 9}
  - {<<: [{duration_seconds: 7}, *first, {duration_seconds: 8}], id: c,
     prompt: "{{ vars.octal }} {{ vars.hex }} {{ vars.float }} {{ vars.yes }} {{ vars.on }}"}
""")
    assert made["a"].request.prompt == "no 1:30, 2026-11-01"
    assert made["b"].request.prompt == made["a"].request.prompt
    assert [made[i].request.duration_seconds for i in "abc"] == [5, 9, 7]
    assert made["c"].request.prompt == "15 31 1.5 yes on"


def test_tables_are_read_as_text_with_a_byte_order_mark_and_empty_cells(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_bytes(
        b"\xef\xbb\xbfid,image,video,duration_seconds,takes,prompt,note\r\n"
        b'a,knight,waltz,,,"{{ vars.note }}, ""twice""","=1+1"\r\n'
        b"\r\n"
        b"b,robot,spin,4,2,,x\r\n"
    )
    made = {job.id: job for job in load(HEAD + "pairs_from: [p.csv]", tmp_path).jobs}
    assert list(made) == ["a", "b", "b.take2"]
    assert made["a"].request.prompt == '=1+1, "twice"'
    assert made["a"].request.duration_seconds == 12
    assert made["b"].request.duration_seconds == 4


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (b"", "no header"),
        (b"image,video\nknight,\xff\n", "not UTF-8"),
        (b"image,video\nknight,a\0b\n", "NUL"),
        (b"image;video\nknight;waltz\n", "not parted by commas"),
        (b'image,video\n"knight,waltz\n', "unexpected end"),
        (b"image,video\n" + b"x" * 200_000 + b",waltz\n", "field larger"),
        (b"image,video,vars\nknight,waltz,1\n", "variable's name"),
    ],
)
def test_a_bad_table_is_a_problem_in_the_table(table: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_bytes(table)
    with pytest.raises(ManifestInvalid) as caught:
        load(HEAD + "pairs_from: [p.csv]", tmp_path)
    assert caught.value.problems[0].file == str(tmp_path / "p.csv")
    assert said in caught.value.problems[0].message


def test_a_key_in_a_table_is_refused_and_not_shown(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_bytes(b"image,video,x\nknight,waltz,ulazai_live_abcdef0123\n")
    with pytest.raises(ManifestInvalid) as caught:
        load(HEAD + "pairs_from: [p.csv]", tmp_path)
    (found,) = caught.value.problems
    assert (found.line, "API key" in found.message) == (2, True)
    assert "abcdef0123" not in repr(found)


def test_private_addresses_are_admitted_for_a_service_on_loopback() -> None:
    text = HEAD + 'pairs: [{image: "http://127.0.0.1:8000/a.png", video: "http://[::1]/b.mp4"}]'
    assert load(text, private=True).jobs[0].id == "a--b"
    with pytest.raises(ManifestInvalid):
        load(text)


def test_a_missing_file_and_a_folder_are_problems_too(tmp_path: Path) -> None:
    for path, said in ((tmp_path / "none.yaml", "no such file"), (tmp_path, "folder")):
        with pytest.raises(ManifestInvalid, match=said) as caught:
            load_manifest(path)
        assert caught.value.exit_code is ExitCode.USAGE
        assert caught.value.problems[0].line == 1


def test_a_stem_that_cannot_be_a_name_asks_for_one() -> None:
    text = HEAD + "pairs: [{image: knight, video: spin}]"
    with pytest.raises(ManifestInvalid, match="can't name the batch") as caught:
        load(text, name="my dance.yaml")
    assert "name:" in caught.value.hint
    assert load(text + "\nname: ok", name="my dance.yaml").name == "ok"


def test_the_collector_is_left_as_it_was() -> None:
    assert gc.isenabled()
    load(HEAD + "pairs: [{image: knight, video: spin}]")
    assert gc.isenabled()
    with pytest.raises(ManifestInvalid):
        load("{")
    assert gc.isenabled()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: spring\npairs: {{{ broken", "spring"),
        ("pairs: [{name: inner}]\nvars: {name: x}\nname: 'outer'\n", "outer"),
        ("{version: 1, name: flow}", "flow"),
        ("version: 1\n", "stem"),
        ("", "stem"),
        ("{{{", "stem"),
        ("[name, x]", "stem"),
        ("vars: {a: name}\nx: name\n", "stem"),
    ],
)
def test_the_name_is_found_without_a_valid_manifest(
    text: str, expected: str, tmp_path: Path
) -> None:
    path = tmp_path / "stem.yaml"
    path.write_text(text)
    assert manifest_name(path) == expected


def test_a_name_that_leaves_the_folder_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text("name: ../../etc/x\n")
    with pytest.raises(ManifestInvalid):
        manifest_name(path)
    with pytest.raises(ManifestInvalid):
        manifest_name(tmp_path / "none.yaml")


def test_loading_imports_no_heavy_library() -> None:
    code = (
        "import sys, kling_batch.manifest.load;"
        "print([m for m in ('jinja2', 'jsonschema', 'requests', 'csv', 'difflib')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_reading_works_without_libyaml(monkeypatch: pytest.MonkeyPatch) -> None:
    text = HEAD + "pairs: [{image: knight, video: spin, vars: {a: 010}}]"
    with pytest.raises(ManifestInvalid) as quick:
        load(text)
    monkeypatch.setitem(sys.modules, "yaml._yaml", None)
    with pytest.raises(ManifestInvalid) as slow:
        load(text)
    assert slow.value.problems == quick.value.problems


def test_an_id_has_at_most_128_characters_with_its_take() -> None:
    fits = "a" * 122
    made = jobs(f"pairs: [{{id: {fits}, image: knight, video: spin, takes: 2}}]")
    assert [len(one) for one in made] == [122, 128]
    assert len(jobs(f"pairs: [{{id: {'a' * 128}, image: knight, video: spin}}]")) == 1
    said = problem(HEAD + f"pairs: [{{id: {fits}a, image: knight, video: spin, takes: 2}}]")
    assert "has 129 characters, at most 128" in said


def test_the_choices_of_a_block_keep_their_own_settings_and_a_clips_length() -> None:
    made = jobs(
        'matrix: [{images: [knight], videos: "*", '
        "with: {quality_mode: [720p, 1080p], vars.a: [x, y]}}]"
    )
    told = {
        name: (job.request.quality_mode, job.request.duration_seconds) for name, job in made.items()
    }
    for weather in ("x", "y"):
        assert told[f"knight--waltz--720p--{weather}"] == ("720p", 12)
        assert told[f"knight--waltz--1080p--{weather}"] == ("1080p", 12)
        assert told[f"knight--spin--1080p--{weather}"] == ("1080p", 5)
    assert len(told) == 8
