"""Writes large manifests, the same bytes each time: listed pairs, a matrix, a CSV, and mistakes.

    python benchmarks/manifest_inputs.py FOLDER [--pairs 100000] [--mistakes 1000]

Pairs take about 470 bytes each, as a person's do who writes prompts out.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Iterator
from pathlib import Path

TEXT = (
    "the quick brown fox jumps over a lazy dog while dancing slowly in warm evening light across "
    "an empty stage with soft shadows and a steady camera"
)
WORDS = TEXT.split()
HEAD = "version: 1\nname: {name}\ndefaults: {{quality_mode: 720p, duration_seconds: 5}}\n"
MISTAKES = (
    "    duration_seconds: 31\n",
    "    duration_seconds: soon\n",
    "    qualty_mode: 720p\n",
    "    character_orientation: image\n    duration_seconds: 11\n",
)


def pair_lines(count: int, mistakes: int = 0) -> Iterator[str]:
    """The pairs as YAML, ``mistakes`` of them wrong in one way each, spread evenly."""
    rng = random.Random(20261101)
    every = count // mistakes if mistakes else count + 1
    for index in range(count):
        prompt = " ".join(rng.choices(WORDS, k=50))
        if mistakes and index % every == every // 2:
            length = MISTAKES[(index // every) % len(MISTAKES)]
        else:
            length = f"    duration_seconds: {3 + index % 28}\n"
        yield (
            f"  - id: job-{index:06d}\n"
            f"    image: https://cdn.example.com/images/character-{index:06d}.png\n"
            f"    video: https://cdn.example.com/clips/motion-{index % 977:04d}.mp4\n"
            f"{length}"
            f"    prompt: {prompt}\n"
            f"    vars: {{series: s{index % 100}}}\n"
        )


def write_pairs(path: Path, count: int, mistakes: int = 0) -> None:
    """A manifest of ``count`` listed pairs."""
    with path.open("w", encoding="utf-8") as file:
        file.write(HEAD.format(name=path.stem) + "pairs:\n")
        file.writelines(pair_lines(count, mistakes))


def write_matrix(path: Path, count: int) -> None:
    """A manifest whose one block stands for about ``count`` jobs, with templated prompts."""
    side = max(1, round((count / 4) ** 0.5))
    images = "".join(
        f'  i{n}: {{url: "https://cdn.example.com/i{n}.png", vars: {{label: character {n}}}}}\n'
        for n in range(side)
    )
    videos = "".join(f"  v{n}: https://cdn.example.com/v{n}.mp4\n" for n in range(side))
    path.write_text(
        HEAD.format(name=path.stem)
        + f"images:\n{images}videos:\n{videos}"
        + 'matrix:\n  - images: "*"\n    videos: "*"\n'
        + "    with: {quality_mode: [720p, 1080p], vars.weather: [sun, rain]}\n"
        + '    set: {prompt: "{{ image.label }} performs {{ video.name }}, {{ vars.weather }}"}\n',
        encoding="utf-8",
    )


def write_table(path: Path, count: int) -> None:
    """A manifest of ``count`` CSV rows, and the CSV beside it."""
    table = path.with_suffix(".csv")
    with table.open("w", encoding="utf-8") as file:
        file.write("id,image,video,duration_seconds,mood,prompt\n")
        rng = random.Random(20261101)
        for index in range(count):
            prompt = " ".join(rng.choices(WORDS, k=50))
            file.write(
                f"row-{index:06d},https://cdn.example.com/c-{index:06d}.png,"
                f"https://cdn.example.com/m-{index % 977:04d}.mp4,{3 + index % 28},calm,{prompt}\n"
            )
    path.write_text(HEAD.format(name=path.stem) + f"pairs_from: [{table.name}]\n", encoding="utf-8")


def main() -> None:
    """Write one of each into a folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--mistakes", type=int, default=1_000)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    writers: dict[str, Callable[[Path], None]] = {
        "pairs": lambda path: write_pairs(path, options.pairs),
        "mistakes": lambda path: write_pairs(path, options.pairs, options.mistakes),
        "matrix": lambda path: write_matrix(path, options.pairs),
        "table": lambda path: write_table(path, options.pairs),
    }
    for name, write in writers.items():
        path = options.folder / f"{name}.yaml"
        write(path)
        print(f"{path}  {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
