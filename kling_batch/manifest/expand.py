"""Pairs, matrix blocks and table rows → cells: one for each pair of inputs, ids not yet taken."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kling_batch.manifest.inputs import KINDS, NO_VARIABLES, Input, Inputs, Kind, Variables
from kling_batch.manifest.nearest import nearest
from kling_batch.manifest.problems import Finding, Path, finding
from kling_batch.manifest.shape import Mended
from kling_batch.manifest.urls import safe
from kling_batch.model import DURATION_MIN
from kling_batch.structs import dataclass, field

MAX_JOBS = 250_000
NO_DOUBTS: frozenset[str] = frozenset()
_VARIABLE = "vars."


@dataclass(slots=True)
class Cell:
    """A pair of inputs with what its own place gives it. Not frozen, which would cost a tenth.

    ``settings`` and ``variables`` are its own layers merged (not the manifest's defaults);
    ``layers`` are their places, the strongest first. ``id`` is derived from names unless its
    place states it (``states_id``). ``doubts`` are what stands in for a mistake that was told:
    ``id``, ``image``, ``video``, ``vars``.
    """

    path: Path
    image: Input
    video: Input
    settings: Mapping[str, Any]
    variables: Variables
    layers: tuple[tuple[Path, Mapping[str, Any]], ...]
    id: str
    states_id: bool = False
    file: str = ""
    doubts: frozenset[str] = NO_DOUBTS


@dataclass(frozen=True, slots=True)
class Axis:
    """A further axis of a matrix block: its key, and its values with their places."""

    key: str
    path: Path
    values: Sequence[Any]


@dataclass(slots=True)
class Expansion:
    """Turns the parts of a document into cells and keeps what is wrong on the way."""

    inputs: Inputs
    findings: list[Finding] = field(default_factory=list)

    def pairs(
        self, pairs: list[dict[str, Any] | None], path: Path, file: str = ""
    ) -> Iterator[Cell]:
        """The cells of listed pairs; None stands for what is no pair at all.

        A pair with a mistake has one too, so that all of its mistakes are told at once.
        Empties the list as it goes: of 100,000 pairs, only the jobs stay in memory.
        """
        resolve = self.inputs.resolve
        for index, pair in enumerate(pairs):
            if pair is None:
                continue
            pairs[index] = None
            here = (*path, index)
            image = video = None
            if "image" in pair:
                image = resolve("image", pair["image"], (*here, "image"), file)
            if "video" in pair:
                video = resolve("video", pair["video"], (*here, "video"), file)
            doubts = pair.doubts if isinstance(pair, Mended) else NO_DOUBTS
            if image is None or video is None:
                image, video, unknown = _stand_ins(image, video)
                doubts |= unknown
            stated = pair.get("id")
            yield Cell(
                here,
                image,
                video,
                pair,
                pair.get("vars", NO_VARIABLES),
                ((here, pair),),
                f"{image.name}--{video.name}" if stated is None else stated,
                stated is not None,
                file,
                doubts,
            )

    def _look_at_sides(self, block: Mended, path: Path) -> None:
        for kind in KINDS:
            if f"{kind}s" in block.keys() - block.doubts:
                self._side(kind, block[f"{kind}s"], (*path, f"{kind}s"))

    def block(self, block: Mapping[str, Any], path: Path) -> Iterator[Cell]:
        """The cells of a matrix block; of one that can't be expanded, its sides are looked at."""
        doubts = block.doubts if isinstance(block, Mended) else NO_DOUBTS
        if isinstance(block, Mended) and "with" in doubts:
            self._look_at_sides(block, path)
            return
        images = self._side("image", block["images"], (*path, "images"))
        videos = self._side("video", block["videos"], (*path, "videos"))
        # By name, so that the order of keys in the file is not part of any id.
        axes = [
            Axis(key, (*path, "with", key), values)
            for key, values in sorted(block.get("with", {}).items())
        ]
        count = len(images) * len(videos)
        for axis in axes:
            count *= len(axis.values)
        if count > MAX_JOBS:
            said = f"this block stands for {count:,} pairs, at most {MAX_JOBS:,} are allowed"
            self.findings.append(finding(path, said, hint="part it over several manifests"))
            return
        excluded = self._excluded(block, path, images, videos, axes)
        given = block.get("set", {})
        choices = [
            ([axis.values[pick] for axis, pick in zip(axes, picks, strict=True)],
             _picked(path, given, axes, picks))
            for picks in itertools.product(*(range(len(axis.values)) for axis in axes))
        ]  # fmt: skip
        sides = [[(one, one.name) for one in side if one is not None] for side in (images, videos)]
        for (image, image_name), (video, video_name) in itertools.product(*sides):
            for values, picked in choices:
                if excluded and excluded.holds(image.reference, video.reference, values):
                    continue
                yield Cell(
                    path,
                    image,
                    video,
                    picked.settings,
                    picked.variables,
                    picked.layers,
                    f"{image_name}--{video_name}{picked.id_tail}",
                    False,
                    "",
                    doubts,
                )

    def _side(self, kind: Kind, given: str | list[str], path: Path) -> list[Input | None]:
        if isinstance(given, list):
            if "*" in given:
                said = "`*` stands alone for all names"
                hint = f'write `{kind}s: "*"`'
                self.findings.append(finding((*path, given.index("*")), said, hint=hint))
                return []
            return [
                self.inputs.resolve(kind, name, (*path, index)) for index, name in enumerate(given)
            ]
        named = self.inputs.images if kind == "image" else self.inputs.videos
        if not named:
            said = f'`"*"` stands for every name below `{kind}s`, and there are none'
            self.findings.append(finding(path, said, hint=f"name some below `{kind}s`"))
        return list(named.values())

    def _excluded(
        self,
        block: Mapping[str, Any],
        path: Path,
        images: Sequence[Input | None],
        videos: Sequence[Input | None],
        axes: Sequence[Axis],
    ) -> _Excluded:
        known: dict[str, list[Any]] = {
            "image": [side.reference for side in images if side is not None],
            "video": [side.reference for side in videos if side is not None],
            **{axis.key: list(axis.values) for axis in axes},
        }
        blind = {"image"} if None in images else set()
        blind |= {"video"} if None in videos else set()
        excluded = _Excluded(["image", "video", *(axis.key for axis in axes)])
        for index, entry in enumerate(block.get("exclude", [])):
            here = (*path, "exclude", index)
            wrong = [
                said
                for key, value in entry.items()
                if (said := _exclude_fault(key, value, known, here)) is not None
                and key not in blind
            ]
            self.findings += wrong
            if not wrong:
                excluded.add(entry)
        return excluded


def _stand_ins(image: Input | None, video: Input | None) -> tuple[Input, Input, frozenset[str]]:
    """What stands for an input that is not known, and what is in doubt by that."""
    sides = {"image": image, "video": video}
    unknown = frozenset(kind for kind, side in sides.items() if side is None)
    return image or _NO_IMAGE, video or _NO_VIDEO, unknown | {"id"}


_NO_IMAGE = Input("x", "https://example.com/x", NO_VARIABLES)
_NO_VIDEO = Input("x", "https://example.com/x", NO_VARIABLES, duration=DURATION_MIN)


@dataclass(frozen=True, slots=True)
class _Picked:
    """What one choice of axis values gives to the cells of every image and video; as in Cell.

    ``id_tail`` is what the axes' values add to their ids.
    """

    settings: Mapping[str, Any]
    variables: Variables
    layers: tuple[tuple[Path, Mapping[str, Any]], ...]
    id_tail: str


def _picked(
    path: Path, given: Mapping[str, Any], axes: Sequence[Axis], picks: Sequence[int]
) -> _Picked:
    settings = {key: value for key, value in given.items() if key != "vars"}
    variables = dict(given.get("vars", NO_VARIABLES))
    layers: list[tuple[Path, Mapping[str, Any]]] = [((*path, "set"), given)]
    tail = ""
    for axis, pick in zip(axes, picks, strict=True):
        value = axis.values[pick]
        tail += f"--{axis_part(value)}"
        if axis.key.startswith(_VARIABLE):
            variables[axis.key[len(_VARIABLE) :]] = value
        else:
            settings[axis.key] = value
            layers.insert(0, (axis.path, {axis.key: value}))
    return _Picked(settings, variables, tuple(layers), tail)


def axis_part(value: Any) -> str:
    """An axis value as a part of an id: ``true``, ``minus2.5``, ``light-rain``."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value < 0:
        return f"minus{safe(str(-value))}"
    return safe(written(value))


def written(value: Any) -> str:
    """The value as the manifest has it: ``true``, not ``True``."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _same(one: Any, other: Any) -> bool:
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def _exclude_fault(
    key: str, value: Any, known: Mapping[str, list[Any]], path: Path
) -> Finding | None:
    if key not in known:
        near = nearest(key, known)
        allowed = ", ".join(f"`{name}`" for name in known)
        hint = f"did you mean `{near}`?" if near else f"this block has: {allowed}"
        return finding((*path, key), f"this block has no axis `{key[:60]}`", hint=hint, on_key=True)
    if any(_same(value, other) for other in known[key]):
        return None
    words = [written(other) for other in known[key]]
    near = nearest(written(value), words, 0.5)
    shown = ", ".join(f"`{word[:60]}`" for word in words[:8])
    hint = f"did you mean `{near}`?" if near else f"`{key}` has: {shown}"
    return finding((*path, key), f"`{written(value)[:60]}` excludes nothing here", hint=hint)


class _Excluded:
    """Exclude entries by the keys they name, so that many of them cost no more than few."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = list(keys)
        self._entries: dict[tuple[int, ...], set[tuple[Any, ...]]] = {}

    def add(self, entry: Mapping[str, Any]) -> None:
        places = tuple(i for i, key in enumerate(self._keys) if key in entry)
        values = tuple(_exact(entry[self._keys[i]]) for i in places)
        self._entries.setdefault(places, set()).add(values)

    def __bool__(self) -> bool:
        return bool(self._entries)

    def holds(self, image: str, video: str, values: Sequence[Any]) -> bool:
        row = [_exact(value) for value in (image, video, *values)]
        return any(
            tuple(row[i] for i in places) in entries for places, entries in self._entries.items()
        )


def _exact(value: Any) -> tuple[bool, Any]:
    return isinstance(value, bool), value
