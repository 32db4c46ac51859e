"""`report` writes the page from the state file alone and says where it is."""

from __future__ import annotations

import webbrowser
from pathlib import Path

import pytest
from support.bench import Bench, jobs
from support.clock import FakeClock

from kling_batch.cli.main import main
from kling_batch.cli.report import live_page
from kling_batch.cli.surroundings import Address
from kling_batch.cli.workspace import Workspace
from kling_batch.manifest.load import load_manifest
from kling_batch.state.opening import Identity, reading, writing


@pytest.fixture
def done(folder: Path) -> Path:
    """The manifest of a batch that is done."""
    Bench(folder, jobs(2)).run()
    return folder / "batch.yaml"


def test_it_prints_where_the_page_is(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(done)]) == 0
    page = done.parent / "outputs/batch/index.html"
    assert capsys.readouterr().out == f"{page}\n"
    text = page.read_text()
    assert 'href="j1.mp4"' in text
    assert 'href="j1.json"' in text


def test_it_works_when_the_manifest_is_invalid(done: Path) -> None:
    done.write_text("name: batch\npairs: nonsense\n")
    assert main(["report", str(done)]) == 0


def test_it_works_while_a_run_holds_the_state(done: Path) -> None:
    state = done.parent / ".kling-batch/batch.db"
    with writing(state, Identity("batch", "batch.yaml"), 0.0):
        assert main(["report", str(done)]) == 0


def test_it_lies_in_the_output_folder_that_the_manifest_names(folder: Path) -> None:
    Bench(folder, jobs(1)).run()
    (folder / "batch.yaml").write_text(jobs(1, "output: {directory: clips}\n"))
    assert main(["report", str(folder / "batch.yaml")]) == 0
    assert 'href="../outputs/batch/j1.mp4"' in (folder / "clips/index.html").read_text()


def test_the_decisions_of_the_manifest_are_shown(done: Path) -> None:
    done.write_text(jobs(2, "decisions: {j1: pick}\n"))
    assert main(["report", str(done)]) == 0
    text = (done.parent / "outputs/batch/index.html").read_text()
    assert text.count("decided: pick") == 1


def test_a_run_keeps_the_page_of_its_records(done: Path) -> None:
    clock = FakeClock()
    workspace = Workspace(load_manifest(done), Address("https://ulazai.com"), clock, False)
    with reading(workspace.state_file) as store:
        assert store is not None
        records = store.records()
    page = live_page(workspace, records)
    page.touch()
    assert page.problem is None
    del records["j2"]
    clock.sleep(60)
    page.touch()
    text = page.path.read_text()
    assert 'href="j1.mp4"' in text
    assert "j2.mp4" not in text


def test_before_any_run_there_is_nothing_to_show(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "batch.yaml").write_text(jobs(1))
    assert main(["report", str(folder / "batch.yaml")]) == 0
    told = capsys.readouterr()
    assert told.out == ""
    assert "Nothing has been run yet" in told.err
    assert not (folder / "outputs").exists()


def test_it_can_be_written_elsewhere_and_still_finds_the_videos(done: Path) -> None:
    other = done.parent / "for the client/page.html"
    assert main(["report", str(done), "--out", str(other)]) == 0
    assert 'href="../outputs/batch/j1.mp4"' in other.read_text()


def test_it_is_opened_when_asked(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda url: opened.append(url) or True)
    assert main(["report", str(done), "--open"]) == 0
    assert opened == [(done.parent / "outputs/batch/index.html").as_uri()]


def test_a_link_that_leads_out_of_the_folder_is_not_followed(
    done: Path, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (done.parent / "outputs").rename(done.parent / "before")
    (done.parent / "outputs").symlink_to(outside)
    assert main(["report", str(done)]) == 2
    assert "leads out of" in capsys.readouterr().err
    assert list(outside.iterdir()) == []


def test_the_key_is_never_in_it(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ULAZAI_API_KEY", "ulazai_secret")
    (done.parent / ".env").write_text("ULAZAI_API_KEY=ulazai_other\n")
    assert main(["report", str(done)]) == 0
    text = (done.parent / "outputs/batch/index.html").read_text()
    assert "ulazai_" not in text
    assert str(done.parent) not in text
