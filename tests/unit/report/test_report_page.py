"""The page is one safe file, put beside the results and never over a file of the user's."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from support.clock import FakeClock
from support.gallery import FACTS, REQUEST, record, view

from kling_batch.errors import UsageError
from kling_batch.report.live import LivePage
from kling_batch.report.page import find_files, page_folder, render, write_report
from kling_batch.state.records import JobState

HOSTILE = (
    "</script><script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
    "<!--<style>*{display:none}</style> {{ 7 * 7 }} \x1b[31m \u202e \ud800"
)


class Elements(HTMLParser):
    """Every start tag with its attributes, and the text of scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.raw: list[tuple[str, str]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        if self.cdata_elem:
            self.raw.append((self.cdata_elem, data))

    def of(self, tag: str) -> Iterator[dict[str, str]]:
        return (attributes for name, attributes in self.found if name == tag)


def hostile_page() -> str:
    evil = replace(
        REQUEST, prompt=HOSTILE, image_url="javascript:alert(1)", video_url=f"https://x/{HOSTILE}"
    )
    one = record(
        HOSTILE, pair=HOSTILE, request=evil, image=HOSTILE, video=HOSTILE, job_id=HOSTILE,
        error=HOSTILE, sha256=HOSTILE,
    )  # fmt: skip
    facts = replace(FACTS, name=HOSTILE, manifest=HOSTILE, key=HOSTILE)
    return render(view(one, facts=facts, decisions={HOSTILE: "pick", "</script>": "redo"}))


def test_hostile_text_adds_no_element_and_no_handler() -> None:
    tame, wild = Elements(render(view(record()))), Elements(hostile_page())
    for tag in ("script", "style", "img", "iframe", "base", "form", "object"):
        assert len(list(wild.of(tag))) == len(list(tame.of(tag))), tag
    for tag, attributes in wild.found:
        assert not [name for name in attributes if name.startswith("on")], tag
        for name in ("href", "src", "action", "formaction", "srcdoc"):
            value = attributes.get(name, "")
            assert re.match(r"(https?://|data:,\Z|[\w%./-]*\Z)", value), (tag, name, value)


def test_control_characters_of_others_are_not_in_the_page() -> None:
    page = hostile_page()
    assert "\x1b" not in re.sub('data-id="[^"]*"', "", page)
    assert "\u202e" not in re.sub('data-id="[^"]*"', "", page)


def test_data_for_the_script_survives_any_text() -> None:
    texts = [text for tag, text in Elements(hostile_page()).raw if tag == "script"]
    assert json.loads(texts[0])["decisions"] == {HOSTILE: "pick", "</script>": "redo"}


def test_the_policy_names_what_the_page_brings_and_nothing_else() -> None:
    elements = Elements(render(view(record())))
    policy = next(one["content"] for one in elements.of("meta") if "http-equiv" in one)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    told = {"script-src": elements.raw[-1][1], "style-src": elements.raw[0][1]}
    for rule, text in told.items():
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"
    assert not {"connect-src", "frame-src", "object-src", "worker-src"} & set(rules)


def test_nothing_of_the_page_is_styled_in_place() -> None:
    # The policy would drop it.
    assert not [tag for tag, attributes in Elements(hostile_page()).found if "style" in attributes]


def test_links_leave_no_trace() -> None:
    elements = Elements(render(view(record())))
    assert {"name": "referrer", "content": "no-referrer"} in list(elements.of("meta"))
    outward = [one for one in elements.of("a") if one["href"].startswith("http")]
    assert outward
    assert all(one["rel"] == "noopener noreferrer" for one in outward)


def test_the_charts_have_a_title_and_say_what_they_show() -> None:
    page = render(view(record(), record("b", JobState.FAILED, credits_refunded=60)))
    assert "60 credits spent of 120 planned" in page
    assert "done: 60 credits, 1 job; failed: 0 credits, 1 job" in page


def test_the_reason_the_receipt_and_the_hash_are_told() -> None:
    page = render(view(record(error="no person found", sha256="ab" * 32)))
    for text in ("no person found", 'href="hero.json"', "ab" * 32, "60 planned, 60 charged"):
        assert text in page


# -- its place -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outputs", "simulated", "folder"),
    [
        ([], False, "outputs/spring"),
        (["outputs/spring/a.mp4", "outputs/spring/x/b.mp4"], False, "outputs/spring"),
        (["outputs/spring/x/b.mp4"], False, "outputs/spring"),
        (["outputs/spring/simulated/a.mp4"], True, "outputs/spring/simulated"),
        (["clips/knight/a.mp4", "clips/robot/b.mp4"], False, "clips"),
        (["outputs/spring2/a.mp4"], False, "outputs/spring2"),
        (["a.mp4"], False, ""),
    ],
)
def test_the_page_lies_with_the_results(outputs: list[str], simulated: bool, folder: str) -> None:
    assert page_folder("spring", outputs, simulated=simulated) == folder


def test_links_lead_from_the_page_to_the_files_that_are_there(folder: Path) -> None:
    (folder / "outputs/spring/x").mkdir(parents=True)
    one = record("a", output="outputs/spring/x/a.mp4", job_id="12345678-9")
    for name in ("a.mp4", "a.json", "a.12345678.json"):
        (folder / "outputs/spring/x" / name).touch()
    gone = record("b")
    found = find_files(folder, folder / "outputs/spring/index.html", [one, gone])
    assert (found["a"].video, found["a"].receipt) == ("x/a.mp4", "x/a.12345678.json")
    assert (found["b"].video, found["b"].receipt) == ("", "")
    elsewhere = find_files(folder, folder / "public/page.html", [one])
    assert elsewhere["a"].video == "../outputs/spring/x/a.mp4"


def test_the_page_is_written_again_over_itself(folder: Path) -> None:
    page = folder / "outputs/spring/index.html"
    write_report(page, view(record()))
    write_report(page, view(record("later", pair="later")))
    assert "later" in page.read_text()
    assert [path.name for path in page.parent.iterdir()] == ["index.html"]


def test_a_file_of_the_users_is_never_written_over(folder: Path) -> None:
    page = folder / "index.html"
    page.write_text("<h1>my own</h1>")
    with pytest.raises(UsageError, match="left as it is"):
        write_report(page, view(record()))
    assert page.read_text() == "<h1>my own</h1>"


def test_a_page_that_cannot_be_written_is_an_error_with_a_mend(folder: Path) -> None:
    (folder / "outputs").write_text("a file in the way")
    with pytest.raises(UsageError, match="can't be written") as error:
        write_report(folder / "outputs/spring/index.html", view(record()))
    assert "--out" in error.value.hint


def test_a_thousand_jobs_are_drawn_well_within_a_second(folder: Path) -> None:
    report = view(*[record(f"j{n}", pair=f"j{n}") for n in range(1000)])
    begun = time.process_time()
    write_report(folder / "index.html", report)
    assert time.process_time() - begun < 2  # see benchmarks/report.py


# -- while a run goes on ---------------------------------------------------------------------------


def test_a_live_page_is_written_every_ten_seconds_and_at_the_end(folder: Path) -> None:
    clock, written = FakeClock(), []
    page = LivePage(folder / "index.html", lambda: written.append(1) or view(record()), clock)
    for _ in range(35):
        page.touch()
        clock.sleep(1)
    assert len(written) == 3
    page.close()
    assert len(written) == 4


def test_a_live_page_that_cannot_be_written_does_not_stop_a_run(folder: Path) -> None:
    (folder / "index.html").write_text("my own")
    clock = FakeClock()
    page = LivePage(folder / "index.html", lambda: view(record()), clock)
    clock.sleep(60)
    page.touch()
    assert page.problem is not None
    assert (folder / "index.html").read_text() == "my own"
