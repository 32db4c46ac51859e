"""`plan --against`: the price of an edit, as a table for a pull request."""

from __future__ import annotations

import subprocess

import pytest
from support.bench import jobs
from support.schemas import validator


@pytest.fixture
def repository(tmp_path):
    """A repository whose `main` holds a manifest of three jobs in a folder of its own."""

    def git(*words: str) -> None:
        subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@example.com", *words],
            cwd=tmp_path,
            check=True,
            capture_output=True,
        )

    git("init", "-q", "-b", "main", ".")
    folder = tmp_path / "batches"
    folder.mkdir()
    (folder / "m.yaml").write_text(jobs(3))
    git("add", ".")
    git("commit", "-qm", "one")
    return folder


def edit(folder, *changes: tuple[str, str]) -> None:
    text = (folder / "m.yaml").read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / "m.yaml").write_text(text)


def test_it_prices_what_is_added_changed_and_removed(call, repository):
    line = "  - {id: j4, image: knight, video: waltz, prompt: more, quality_mode: 1080p}\n"
    edit(repository, ("number 2", "number two"), ("id: j3", "id: j5"))
    edit(repository, ("number 3", "number five"))
    with (repository / "m.yaml").open("a") as file:
        file.write(line)
    told = call("plan", "batches/m.yaml", "--against", "main")
    assert told.code == 0
    assert told.out.splitlines()[2:9] == [
        "| | jobs | credits | about |",
        "|---|---:|---:|---:|",
        "| before | 3 | 180 | $1.66 |",
        "| added | 2 | +160 | |",
        "| changed | 1 | +0 | |",
        "| removed | 1 | -60 | |",
        "| **after** | **4** | **280** | **$2.58** |",
    ]
    value = call("plan", "batches/m.yaml", "--against", "main", "--json").json
    validator("change").validate(value)
    assert {job["id"]: job["change"] for job in value["jobs"]} == {
        "j2": "changed",
        "j3": "removed",
        "j4": "added",
        "j5": "added",
    }
    assert value["totals"]["credits_to_make"] == 220


def test_a_cosmetic_edit_changes_nothing_and_a_rename_costs_nothing(call, repository):
    edit(repository, ("name: batch", "name: batch  # the best"))
    told = call("plan", "batches/m.yaml", "--against", "main", "--check")
    assert told.code == 0
    assert "No job and no price changes." in told.out
    edit(repository, ("id: j1", "id: hero"))
    value = call("plan", "batches/m.yaml", "--against", "main", "--json").json
    assert [(job["change"], job["renamed_from"]) for job in value["jobs"]] == [("renamed", "j1")]
    assert value["totals"]["credits_to_make"] == 0
    assert call("plan", "batches/m.yaml", "--against", "main", "--check").code == 8


def test_new_rates_are_said_and_make_nothing_again(call, repository):
    edit(repository, ("pairs:", "pricing: {credits_per_second: {720p: 13}}\npairs:"))
    told = call("plan", "batches/m.yaml", "--against", "main")
    assert "Rates: 720p: 12 → 13 credits a second." in told.out
    assert "| repriced | 3 | +15 | |" in told.out


def test_tables_are_read_as_they_stood_in_that_revision(call, repository):
    edit(repository, ("pairs:", "pairs_from: [sub/p.csv]\npairs:"))
    (repository / "sub").mkdir()
    (repository / "sub/p.csv").write_text("id,image,video\nc1,knight,waltz\n")
    subprocess.run(["git", "add", "."], cwd=repository, check=True)
    subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-qm", "two"],
        cwd=repository,
        check=True,
    )
    (repository / "sub/p.csv").write_text("id,image,video\nc1,knight,waltz\nc2,knight,waltz\n")
    value = call("plan", "batches/m.yaml", "--against", "main", "--json").json
    assert [(job["id"], job["change"]) for job in value["jobs"]] == [("c2", "added")]


def test_a_manifest_that_was_not_there_is_all_added(call, repository):
    (repository / "new.yaml").write_text(jobs(2))
    value = call("plan", "batches/new.yaml", "--against", "main", "--json").json
    assert value["against"]["existed"] is False
    assert value["totals"]["by_change"]["added"] == {"jobs": 2, "credits": 120}


def test_several_manifests_are_several_tables(call, repository):
    told = call("plan", "batches/m.yaml", "batches/m.yaml", "--against", "main", "--json")
    assert [one["name"] for one in told.json] == ["batch", "batch"]


def test_a_manifest_that_was_invalid_there_is_shown_with_its_places(call, repository):
    good = (repository / "m.yaml").read_text()
    edit(repository, ("720p", "4k"))
    subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-qam", "bad"],
        cwd=repository,
        check=True,
    )
    (repository / "m.yaml").write_text(good)
    told = call("plan", "batches/m.yaml", "--against", "main")
    assert told.code == 2
    assert "main:batches/m.yaml:3:" in told.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--against", "nowhere"), "git knows no revision nowhere"),
        (("--against=--output=x",), "is no revision"),
        (("--against=",), "is no revision"),
        (("--against", "main", "--out", "p.json"), "leave out"),
        (("--against", "main", "--only", "j1"), "leave out"),
    ],
)
def test_what_can_not_be_compared_is_said(call, repository, words, said):
    told = call("plan", "batches/m.yaml", *words)
    assert told.code == 2
    assert said in told.err
    assert sorted(path.name for path in repository.parent.iterdir()) == [".git", "batches"]


def test_outside_of_git_it_says_so(call, tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    (tmp_path / "m.yaml").write_text(jobs(1))
    told = call("plan", "m.yaml", "--against", "main")
    assert told.code == 2
    assert "in no git repository" in told.err
    assert "no revisions" in call("plan", "-", "--against", "main").err


def test_nothing_of_a_manifest_is_markup_in_the_table(call, repository):
    edit(repository, ("number 1", "<b>x</b> | `y` @someone"))
    [row] = [
        line
        for line in call("plan", "batches/m.yaml", "--against", "main").out.splitlines()
        if line.startswith("| ~")
    ]
    cells = row.replace("\\|", "").split(" | ")
    assert len(cells) == 4
    assert cells[3].count("`") == 2
