"""The gallery page in a real browser, opened from disk: it plays, finds, sorts and decides."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.gallery import EVIL, FACTS, record, view

from kling_batch.report.page import find_files, write_report
from kling_batch.report.summary import summarize
from kling_batch.simulator.media import mp4, png

Open = Callable[..., Any]
IMAGE, CLIP = "https://cdn.example.com/knight.png", "https://cdn.example.com/waltz.mp4"


def seen(page: Any) -> list[str]:
    """The ids of the takes that are shown, in their order."""
    return page.evaluate(
        "() => [...document.querySelectorAll('.take')]"
        ".filter(one => one.checkVisibility()).map(one => one.dataset.id)"
    )


def row(page: Any, name: str) -> Any:
    return page.locator(".row", has=page.get_by_role("heading", name=name, exact=True))


def take(page: Any, job: str) -> Any:
    return page.locator(f'.take[data-id="{job}"]')


# -- what it shows --------------------------------------------------------------------------------


def test_all_takes_of_a_row_play_together_for_as_long_as_was_asked(
    gallery: Path, open_page: Open
) -> None:
    page = open_page(gallery).page
    hero = row(page, "hero")
    hero.get_by_role("button", name="Play all of hero").click()
    videos = hero.locator(".take video")
    assert videos.count() == 3
    for index in range(3):
        video = videos.nth(index)
        page.wait_for_function(
            "one => one.readyState >= 3 && !one.paused && one.currentTime > 0",
            arg=video.element_handle(),
        )
        assert video.evaluate("one => one.duration") == pytest.approx(4, abs=0.1)
        assert video.evaluate("one => one.videoWidth") > 0
    hero.get_by_role("button", name="Play all of hero").click()
    assert videos.evaluate_all("all => all.every(one => one.paused)")


def test_a_first_frame_is_there_before_anything_is_played(gallery: Path, open_page: Open) -> None:
    page = open_page(gallery).page
    video = take(page, "evil").locator("video")
    page.wait_for_function("one => one.readyState >= 2", arg=video.element_handle())
    assert video.evaluate("one => one.paused")
    assert video.evaluate("one => one.duration") == pytest.approx(9, abs=0.1)


def test_nothing_is_asked_of_the_network_but_the_inputs(gallery: Path, open_page: Open) -> None:
    tab = open_page(gallery)
    tab.page.mouse.wheel(0, 5000)
    tab.page.wait_for_selector(".missing video", state="attached")
    tab.page.keyboard.press("c")
    assert set(tab.asked) <= {IMAGE, CLIP}
    unlike = [one for one in tab.complaints if not one.startswith("Failed to load resource")]
    assert unlike == []


def test_inputs_that_cannot_be_had_leave_their_name_and_address(
    gallery: Path, open_page: Open
) -> None:
    page = open_page(gallery).page
    frame = row(page, "hero").locator(".input").first
    frame.locator(".missing").wait_for()
    assert frame.locator("img").is_hidden()
    assert frame.locator(".still b").text_content() == "knight"
    assert frame.locator("a.source").text_content() == "cdn.example.com/knight.png"
    assert frame.locator("a.source").get_attribute("href") == IMAGE


def test_inputs_that_can_be_had_are_shown(gallery: Path, open_page: Open) -> None:
    page = open_page(gallery, {IMAGE: png("knight"), CLIP: mp4(3)}).page
    hero = row(page, "hero")
    hero.locator(".loaded img").wait_for()
    assert hero.locator("img").evaluate("one => one.naturalWidth") > 0
    hero.locator(".input .loaded video").wait_for()


def test_a_hostile_prompt_is_text(gallery: Path, open_page: Open) -> None:
    tab = open_page(gallery)
    assert row(tab.page, "evil").locator(".prompt").text_content() == EVIL
    assert tab.page.title() == "batch · kling-batch"
    assert tab.page.locator("img[src=x]").count() == 0


def test_not_even_a_script_that_got_in_would_run(gallery: Path, open_page: Open) -> None:
    tab = open_page(gallery)
    tab.page.evaluate(
        """() => { const script = document.createElement("script");
        script.textContent = "document.title = 'hacked'"; document.body.append(script);
        fetch("https://elsewhere.example.com/").catch(() => {}); }"""
    )
    assert tab.page.title() == "batch · kling-batch"
    assert sum("Content Security Policy" in one for one in tab.complaints) >= 2
    assert set(tab.asked) <= {IMAGE, CLIP}


def test_a_failure_says_its_reason_and_what_came_back(gallery: Path, open_page: Open) -> None:
    page = open_page(gallery).page
    broken = take(page, "broken")
    assert broken.locator(".error").text_content()
    assert broken.locator(".state").text_content() == "failed"
    broken.get_by_text("Details").click()
    assert "60 planned, 60 charged, 60 refunded" in broken.text_content()


def test_the_receipt_and_the_video_are_where_the_links_lead(gallery: Path, open_page: Open) -> None:
    page = open_page(gallery).page
    take(page, "2026").get_by_text("Details").click()
    links = take(page, "2026").locator("dd a").evaluate_all("all => all.map(one => one.href)")
    assert links == [(gallery.parent / name).as_uri() for name in ("2026.mp4", "2026.json")]
    assert all((gallery.parent / name).exists() for name in ("2026.mp4", "2026.json"))


def test_without_scripts_it_can_still_be_read(gallery: Path, open_page: Open) -> None:
    page = open_page(gallery, java_script_enabled=False).page
    assert page.locator("noscript p").is_visible()
    assert not page.locator("#search").is_visible()
    assert "hero.take2" in page.locator("main").text_content()
    links = page.get_by_role("link", name="Result hero.take2")
    assert links.get_attribute("href") == "hero.take2.mp4"


# -- finding and sorting --------------------------------------------------------------------------


def test_states_text_and_choices_filter(gallery: Path, open_page: Open) -> None:
    page = open_page(gallery).page
    everything = ["hero", "hero.take2", "hero.take3", "broken", "evil", "2026"]
    assert seen(page) == everything
    page.get_by_role("button", name=re.compile("^failed")).click()
    assert seen(page) == ["broken"]
    assert page.locator("#count").text_content() == "1 of 6 jobs"
    page.keyboard.press("Escape")
    assert seen(page) == everything
    page.keyboard.press("/")
    page.keyboard.type("take2")
    assert seen(page) == ["hero.take2"]
    page.keyboard.type(" nowhere")
    assert seen(page) == []
    page.get_by_role("button", name="Show all").click()
    assert seen(page) == everything
    take(page, "evil").get_by_role("button", name="Pick").click()
    page.locator("#choice").select_option("pick")
    assert seen(page) == ["evil"]


def test_rows_sort_by_cost_time_and_name(tmp_path: Path, open_page: Open) -> None:
    made = [
        record(job, pair=job, credits_charged=cost, submitted_at=at, finished_at=at + took)
        for job, cost, at, took in (
            ("j10", 60, 200.0, 9),
            ("j9", 90, 100.0, 5),
            ("b", 30, 300.0, 7),
        )
    ]
    write_report(tmp_path / "index.html", view(*made))
    page = open_page(tmp_path / "index.html").page

    def rows(by: str) -> list[str]:
        page.locator("#sort").select_option(by)
        return page.locator(".row h2").all_text_contents()

    assert rows("cost") == ["j9", "j10", "b"]
    assert rows("cost-up") == ["b", "j10", "j9"]
    assert rows("time") == ["b", "j10", "j9"]
    assert rows("time-up") == ["j9", "j10", "b"]
    assert rows("seconds") == ["j10", "b", "j9"]
    assert rows("name") == ["b", "j9", "j10"]
    assert rows("order") == ["j10", "j9", "b"]


# -- deciding -------------------------------------------------------------------------------------


def test_decisions_are_copied_as_yaml(gallery: Path, open_page: Open) -> None:
    page = open_page(gallery, permissions=["clipboard-read", "clipboard-write"]).page
    for job, word in (("hero", "Pick"), ("hero.take2", "Redo"), ("2026", "Reject")):
        button = take(page, job).get_by_role("button", name=word)
        button.click()
        assert button.get_attribute("aria-pressed") == "true"
    assert page.locator("#decided").text_content() == "3"
    page.get_by_role("button", name="Copy decisions").click()
    page.get_by_text("Copied to the clipboard").wait_for()
    copied = page.evaluate("() => navigator.clipboard.readText()")
    assert copied == 'decisions:\n  hero: pick\n  hero.take2: redo\n  "2026": reject\n'
    decided = {"hero": "pick", "hero.take2": "redo", "2026": "reject"}
    assert yaml.safe_load(copied) == {"decisions": decided}


def test_without_the_clipboard_they_can_be_copied_by_hand(gallery: Path, open_page: Open) -> None:
    page = open_page(gallery).page
    page.evaluate(
        """() => { navigator.clipboard.writeText = () => Promise.reject(new Error("no"));
        document.execCommand = () => false; }"""
    )
    take(page, "hero").get_by_role("button", name="Pick").click()
    page.keyboard.press("c")
    page.get_by_text("Copy it from here").wait_for()
    assert page.locator("#yaml").input_value() == "decisions:\n  hero: pick\n"
    selected = "one => one.selectionEnd - one.selectionStart"
    assert page.locator("#yaml").evaluate(selected) == len("decisions:\n  hero: pick\n")


def test_decisions_outlive_a_reload_and_are_taken_back_by_a_second_press(
    gallery: Path, open_page: Open
) -> None:
    page = open_page(gallery).page
    take(page, "hero").get_by_role("button", name="Reject").click()
    page.reload()
    button = take(page, "hero").get_by_role("button", name="Reject")
    assert button.get_attribute("aria-pressed") == "true"
    button.click()
    page.reload()
    assert page.locator("#decided").text_content() == "0"


def test_a_word_said_of_an_earlier_video_is_not_said_of_the_new_one(
    tmp_path: Path, open_page: Open
) -> None:
    page_file = tmp_path / "index.html"
    write_report(page_file, view(record()))
    page = open_page(page_file).page
    take(page, "hero").get_by_role("button", name="Redo").click()
    write_report(page_file, view(record(job_id="another")))
    page.reload()
    assert page.locator("#decided").text_content() == "0"


def test_decisions_of_the_manifest_are_shown_and_kept_in_the_copy(
    tmp_path: Path, open_page: Open
) -> None:
    odd = 'it\'s: "odd"\n\u2028\x07'
    said = {"hero": "pick", "gone": "reject", "null": "redo", odd: "redo"}
    write_report(tmp_path / "index.html", view(record(), decisions=said))
    page = open_page(tmp_path / "index.html").page
    button = take(page, "hero").get_by_role("button", name="Pick")
    assert button.get_attribute("aria-pressed") == "true"
    page.keyboard.press("c")
    assert yaml.safe_load(page.locator("#yaml").input_value()) == {"decisions": said}


# -- keys -----------------------------------------------------------------------------------------


def test_rows_and_takes_are_reached_and_decided_by_keys(gallery: Path, open_page: Open) -> None:
    page = open_page(gallery).page

    def focused() -> str:
        return page.evaluate("() => document.activeElement.dataset.id")

    page.keyboard.press("j")
    assert focused() == "hero"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert focused() == "hero.take3"
    page.keyboard.press("p")
    assert take(page, "hero.take3").get_attribute("data-choice") == "pick"
    page.keyboard.press("ArrowDown")
    assert focused() == "broken"
    page.keyboard.press("p")  # there is no video to pick
    assert take(page, "broken").get_attribute("data-choice") == ""
    page.keyboard.press("r")
    assert take(page, "broken").get_attribute("data-choice") == "redo"
    page.keyboard.press("k")
    page.keyboard.press("Space")
    playing = row(page, "hero").get_by_role("button", name="Play all")
    assert playing.get_attribute("aria-pressed") == "true"
    page.keyboard.press("?")
    assert page.get_by_role("dialog", name="Keys").is_visible()


# -- for everyone, everywhere ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scheme", "dialog"), [("light", ""), ("dark", ""), ("light", "?"), ("dark", "c")]
)
def test_it_is_accessible(
    gallery: Path, open_page: Open, axe: Any, scheme: str, dialog: str
) -> None:
    page = open_page(gallery, color_scheme=scheme).page
    row(page, "evil").locator(".choose").wait_for()
    for job, word in (("hero", "Pick"), ("hero.take2", "Redo"), ("hero.take3", "Reject")):
        take(page, job).get_by_role("button", name=word).click()
    page.evaluate("() => unfold(true)")
    if dialog:
        page.keyboard.press(dialog)
    else:
        page.get_by_role("button", name=re.compile("^failed")).click()
        page.get_by_role("button", name=re.compile("^done")).click()
    found = axe.run(page).response["violations"]
    grave = [
        (one["id"], one["nodes"][0]["html"][:200], one["nodes"][0]["failureSummary"][:300])
        for one in found
        if one["impact"] in ("serious", "critical")
    ]
    assert grave == []


def test_it_fits_narrow_and_wide_windows(gallery: Path, open_page: Open) -> None:
    page = open_page(gallery).page
    for width in (320, 400, 760, 1400):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width


def test_print_leaves_out_what_paper_cannot_press(gallery: Path, open_page: Open) -> None:
    page = open_page(gallery).page
    page.emulate_media(media="print")
    assert not page.locator("#search").is_visible()
    assert not page.locator(".play").first.is_visible()
    assert page.pdf()[:4] == b"%PDF"


def test_of_many_jobs_only_those_near_the_window_hold_media(
    tmp_path: Path, open_page: Open
) -> None:
    results = tmp_path / "outputs/spring"
    results.mkdir(parents=True)
    (results / "hero.mp4").write_bytes(mp4(3))
    made = [record(f"j{n}", pair=f"j{n}", output="outputs/spring/hero.mp4") for n in range(400)]
    page_file = results / "index.html"
    write_report(page_file, summarize(made, FACTS, find_files(tmp_path, page_file, made)))
    page = open_page(page_file).page
    take(page, "j0").locator("video").wait_for(state="attached")
    page.evaluate("() => scrollTo({top: document.body.scrollHeight, behavior: 'instant'})")
    take(page, "j399").locator("video").wait_for(state="attached")
    take(page, "j0").locator("video").wait_for(state="detached")
    assert page.locator("video").count() < 80
