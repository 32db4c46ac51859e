"""What lies in a folder, links and all."""

from __future__ import annotations

from pathlib import Path

import pytest

from kling_batch.files import is_below


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to stand in: one below it, links from it to there and out, and what is beside it."""
    here = tmp_path / "here"
    (here / "below").mkdir(parents=True)
    (tmp_path / "beside").mkdir()
    (here / "in").symlink_to("below")
    (here / "out").symlink_to(tmp_path / "beside")
    (tmp_path / "door").symlink_to(here)
    monkeypatch.chdir(here)
    return here


@pytest.mark.parametrize("way", ["", "below", "below/new/newer", "in", "in/new", "below/../in"])
def test_what_a_folder_holds_is_below_it(place: Path, way: str) -> None:
    assert is_below(place / way, place)
    assert is_below(Path(way), Path())
    assert is_below(place.parent / "door" / way, place.parent / "door")
    assert is_below(place.parent / "door" / way, place)


@pytest.mark.parametrize("way", ["out", "out/new", "..", "../beside", "below/../../beside"])
def test_what_leads_out_of_a_folder_is_not(place: Path, way: str) -> None:
    assert not is_below(place / way, place)
    assert not is_below(Path(way), Path())
    assert not is_below(place.parent / "door" / way, place.parent / "door")


def test_another_absolute_path_is_not_below_the_folder_one_stands_in(place: Path) -> None:
    assert not is_below(place.parent / "beside", Path())
    assert not is_below(place.parent / "beside", place)
    assert is_below(place / "below", Path())
