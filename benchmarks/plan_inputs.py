"""Writes one input of benchmarks/plan.py: a manifest, and for `made` the state of a finished run.

python benchmarks/plan_inputs.py KIND COUNT FILE
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from pathlib import Path

from manifest_inputs import HEAD, WORDS

CLIPS = 100


MOODS, PLACES, LIGHTS = ("calm", "wild", "proud"), ("stage", "street", "rain"), ("soft", "hard")
MISTAKES = (
    ("duration_seconds: ", "duration_seconds: 9"),  # 93 seconds and more
    ("quality_mode", "qualty_mode"),
    ("orientation: video", "orientation: vidoe"),
)


def write_pairs(path: Path, count: int, mistakes: int = 0) -> None:
    """Pairs of about 470 bytes with every setting and six variables written out: 31 nodes each.

    CSafeLoader takes about 1.6 GiB for 100,000 of them.
    """
    rng = random.Random(20261101)
    every = count // mistakes if mistakes else 1
    with path.open("w", encoding="utf-8") as file:
        file.write(HEAD.format(name=path.stem) + "pairs:\n")
        for index in range(count):
            pair = (
                f"  - id: job-{index:06d}\n"
                f"    image: https://cdn.example.com/images/character-{index:06d}.png\n"
                f"    video: https://cdn.example.com/clips/motion-{index % 977:04d}.mp4\n"
                "    quality_mode: 720p\n"
                "    character_orientation: video\n"
                f"    duration_seconds: {3 + index % 28}\n"
                "    takes: 1\n"
                f"    prompt: {' '.join(rng.choices(WORDS, k=25))}\n"
                f"    vars: {{series: s{index % 100}, mood: {MOODS[index % 3]},"
                f" place: {PLACES[index % 3]}, light: {LIGHTS[index % 2]}, pace: slow,"
                f" n: {index}}}\n"
            )
            if mistakes and index % every == every // 2:
                pair = pair.replace(*MISTAKES[index // every % len(MISTAKES)], 1)
            file.write(pair)


def write_mistakes(path: Path, count: int) -> None:
    """One pair in a hundred is wrong."""
    write_pairs(path, count, count // 100)


def _inputs(count: int) -> str:
    images = "".join(f"  i{n:04d}: https://cdn.example.com/i{n}.png\n" for n in range(count))
    videos = "".join(f"  v{n:02d}: https://cdn.example.com/v{n}.mp4\n" for n in range(CLIPS))
    head = HEAD.replace("5}}", '5, prompt: "a slow dance, steady camera"}}')
    return f"{head}images:\n{images}videos:\n{videos}"


def write_matrix(path: Path, count: int) -> None:
    """``count`` jobs as images x 100 videos."""
    text = _inputs(count // CLIPS).format(name=path.stem)
    path.write_text(text + 'matrix:\n  - {images: "*", videos: "*"}\n', encoding="utf-8")


def write_listed(path: Path, count: int) -> None:
    """The same pairs as the matrix, written out."""
    with path.open("w", encoding="utf-8") as file:
        file.write(_inputs(count // CLIPS).format(name=path.stem) + "pairs:\n")
        for image in range(count // CLIPS):
            file.writelines(
                f"  - image: i{image:04d}\n    video: v{clip:02d}\n" for clip in range(CLIPS)
            )


def _with_prompts(path: Path, count: int, prompt: Callable[[int, str], str]) -> None:
    rng = random.Random(20261101)
    with path.open("w", encoding="utf-8") as file:
        file.write(HEAD.format(name=path.stem) + "pairs:\n")
        for index in range(count):
            text = prompt(index, " ".join(rng.choices(WORDS, k=25)))
            file.write(
                f"  - id: job-{index:06d}\n"
                f"    image: https://cdn.example.com/images/character-{index:06d}.png\n"
                f"    video: https://cdn.example.com/clips/motion-{index % 977:04d}.mp4\n"
                f'    prompt: "{text}"\n'
                f"    vars: {{series: s{index % 100}}}\n"
            )


SHARED = f"{{{{ vars.series }}}} {' '.join(WORDS)} of {{{{ id }}}}"
KINDS: dict[str, Callable[[Path, int], None]] = {
    "pairs": write_pairs,
    "mistakes": write_mistakes,
    "matrix": write_matrix,
    "listed": write_listed,
    "one-template": lambda path, count: _with_prompts(path, count, lambda *_: SHARED),
    "plain-prompts": lambda path, count: _with_prompts(path, count, lambda n, text: f"{text} {n}"),
    "templates": lambda path, count: _with_prompts(
        path, count, lambda n, text: f"{text} {n} {{{{ vars.series }}}}"
    ),
    "jinja-templates": lambda path, count: _with_prompts(
        path, count, lambda n, text: f"{text} {n} {{{{ vars.series | upper }}}}"
    ),
}


def write_made(path: Path, count: int) -> None:
    """Listed pairs, and what a run leaves that made all of them: records, and files (empty)."""
    from kling_batch.manifest.load import load_manifest
    from kling_batch.state.opening import Identity, state_path, writing
    from kling_batch.state.records import JobState, Record

    write_pairs(path, count)
    manifest = load_manifest(path)
    folder = manifest.output_directory.relative_to(manifest.directory).as_posix()
    records = [
        Record(
            id=job.id,
            fingerprint=job.request.fingerprint(),
            request=job.request,
            state=JobState.DOWNLOADED,
            output=f"{folder}/{job.output}",
            credits_planned=manifest.pricing.credits(job.request),
            pair=job.pair,
            take=job.take,
            image=job.image,
            video=job.video,
            job_id=f"job_{number:08x}",
            attempts=1,
            credits_charged=manifest.pricing.credits(job.request),
            result_url=f"https://cdn.example.com/results/{number:08x}.mp4",
            sha256=f"{number:064x}",
            size=1_000_000,
            submitted_at=1_790_000_000.0 + number,
            finished_at=1_790_000_090.0 + number,
        )
        for number, job in enumerate(manifest.jobs)
    ]
    identity = Identity(manifest.name, manifest.source.name)
    with writing(state_path(path.parent, manifest.name), identity, 1_790_000_000.0) as store:
        store.save(records, [])
    manifest.output_directory.mkdir(parents=True)
    for record in records:
        (path.parent / record.output).touch()


def main() -> None:
    """Write the input that the arguments name."""
    kind, count, path = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    {**KINDS, "made": write_made}[kind](path, count)


if __name__ == "__main__":
    main()
