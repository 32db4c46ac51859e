"""Images and videos: named ones, and URLs that stand where a name may."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from kling_batch.manifest import urls
from kling_batch.manifest.nearest import nearest
from kling_batch.manifest.problems import Finding, Path, finding
from kling_batch.structs import dataclass

Kind = Literal["image", "video"]
KINDS: tuple[Kind, Kind] = ("image", "video")
Variables = Mapping[str, Any]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")
_TAKEN = {
    "image": frozenset({"name", "url"}),
    "video": frozenset({"name", "url", "duration_seconds"}),
}
NO_VARIABLES: Variables = {}


@dataclass(frozen=True, slots=True)
class Input:
    """An image or a video as jobs use it. ``reference`` is the manifest's word for it."""

    reference: str
    url: str
    variables: Variables
    duration: int | None = None
    is_url: bool = False

    @property
    def name(self) -> str:
        """Its part of ids; for a URL see ``urls.name_of``."""
        return urls.name_of(self.url) if self.is_url else self.reference


class Inputs:
    """The named images and videos of a manifest, and what references to them mean.

    A name whose definition is no definition is known but stands for None: what refers to it is
    left out, and only the definition is reported.
    """

    def __init__(self, document: Mapping[str, Any], *, private: bool) -> None:
        self.findings: list[Finding] = []
        self._private = private
        self.images = self._named("image", document.get("images") or {})
        self.videos = self._named("video", document.get("videos") or {})

    def _named(self, kind: Kind, section: Mapping[str, Any]) -> dict[str, Input | None]:
        return {name: self._define(kind, name, given) for name, given in section.items()}

    def _define(self, kind: Kind, name: str, given: Any) -> Input | None:
        path: Path = (f"{kind}s", name)
        if given is None or not _NAME.match(name):
            return None
        body: dict[str, Any] = {"url": given} if isinstance(given, str) else given
        url_path = path if isinstance(given, str) else (*path, "url")
        fault = urls.fault(body["url"], private=self._private)
        if fault is not None:
            self.findings.append(finding(url_path, fault[0], hint=fault[1]))
        variables: Variables = body.get("vars", NO_VARIABLES)
        for key in variables.keys() & _TAKEN[kind]:
            said = f"`{key}` is what `{kind}.{key}` already stands for"
            hint = "rename this variable"
            self.findings.append(finding((*path, "vars", key), said, hint=hint, on_key=True))
        duration = body.get("duration_seconds")
        # With a bad URL too: what refers to it is looked at all the same, so that its own
        # mistakes are told at once.
        return Input(name, body["url"], variables, None if duration is None else int(duration))

    def resolve(self, kind: Kind, reference: str, path: Path, file: str = "") -> Input | None:
        """What a reference stands for; None, with a finding where it is news, when for nothing."""
        named = self.images if kind == "image" else self.videos
        if reference in named:
            return named[reference]
        if urls.looks_like_url(reference):
            fault = urls.fault(reference, private=self._private)
            if fault is None:
                return Input(reference, reference, NO_VARIABLES, is_url=True)
            said, hint = fault
        else:
            said, hint = self._unknown(kind, reference, named)
        self.findings.append(Finding(path, (said,), hint, file=file))
        return None

    def _unknown(self, kind: Kind, reference: str, named: Mapping[str, Any]) -> tuple[str, str]:
        said = f"there is no {kind} `{reference[:60]}` below `{kind}s`"
        near = nearest(reference, named)
        if near:
            return said, f"did you mean `{near}`?"
        other = self.videos if kind == "image" else self.images
        if reference in other:
            return said, f"it is one of the {'videos' if kind == 'image' else 'images'}"
        some = ", ".join(f"`{name}`" for name in list(named)[:8])
        return said, f"there are: {some}" if some else f"name it below `{kind}s`, or give a URL"
