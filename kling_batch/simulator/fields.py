"""Field checks of a submission under either contract, as openapi.yaml states them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Literal, NoReturn, cast

from kling_batch.model import (
    DURATION_MAX,
    DURATION_MAX_IMAGE,
    DURATION_MIN,
    MODEL,
    PROMPT_MAX,
    Contract,
    JobRequest,
    Orientation,
    QualityMode,
)

# RFC 3986, as "format: uri" asks for: ASCII, with everything else percent-encoded.
_URL = re.compile(r"https?://(?:[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})*")


class Refused(Exception):
    """The submission is refused: the status to answer and the reason to tell."""

    def __init__(self, status: Literal[400, 404], reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


@dataclass(frozen=True, slots=True)
class FieldNames:
    """What a contract calls the fields that the two contracts name differently."""

    model: str
    image_urls: str
    video_urls: str


NAMES: dict[Contract, FieldNames] = {
    "canonical": FieldNames("model_slug", "input_image_urls", "input_video_urls"),
    "legacy": FieldNames("video_model", "source_image_urls", "video_urls"),
}


def read_submission(body: bytes, content_type: str, contract: Contract) -> JobRequest:
    """The request that a body states; raises Refused for the first thing wrong with it."""
    names = NAMES[contract]
    fields = _object(body, content_type)
    model = _required(fields, names.model)
    if not isinstance(model, str):
        _wrong(names.model, "must be a string")
    if model != MODEL:
        raise Refused(404, f"Unknown model: {model[:80]}")
    request = JobRequest(
        prompt=_prompt(_required(fields, "prompt")),
        image_url=_one_url(_required(fields, names.image_urls), names.image_urls),
        video_url=_one_url(_required(fields, names.video_urls), names.video_urls),
        character_orientation=_orientation(fields.get("character_orientation", "video")),
        quality_mode=_quality(_required(fields, "quality_mode")),
        duration_seconds=_duration(_required(fields, "duration_seconds")),
    )
    if request.character_orientation == "image" and request.duration_seconds > DURATION_MAX_IMAGE:
        _wrong("duration_seconds", f"must be at most {DURATION_MAX_IMAGE} when facing the image")
    return request


def parse_json(body: bytes) -> Any:
    """Strict JSON: raises ValueError for NaN and infinities, bad UTF-8, nesting too deep."""
    try:
        return json.loads(body.decode("utf-8"), parse_constant=_no_constant)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _object(body: bytes, content_type: str) -> dict[str, Any]:
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise Refused(400, "Content-Type must be application/json")
    try:
        fields = parse_json(body)
    except ValueError as error:
        raise Refused(400, "The body is not valid JSON") from error
    if not isinstance(fields, dict):
        raise Refused(400, "The body must be a JSON object")
    return fields


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _required(fields: dict[str, Any], name: str) -> Any:
    if name not in fields:
        _wrong(name, "is required")
    return fields[name]


def _wrong(name: str, reason: str) -> NoReturn:
    raise Refused(400, f"{name} {reason}")


def _prompt(value: Any) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= PROMPT_MAX:
        _wrong("prompt", f"must be a string of 1 to {PROMPT_MAX} characters")
    return value


def _one_url(value: Any, name: str) -> str:
    if not isinstance(value, list) or len(value) != 1:
        _wrong(name, "must be a list of exactly one URL")
    url = value[0]
    if not isinstance(url, str) or not _URL.fullmatch(url):
        _wrong(name, "must hold a public http or https URL, percent-encoded")
    return url


def _orientation(value: Any) -> Orientation:
    if value not in ("video", "image"):
        _wrong("character_orientation", "must be video or image")
    return cast("Orientation", value)


def _quality(value: Any) -> QualityMode:
    if value not in ("720p", "1080p"):
        _wrong("quality_mode", "must be 720p or 1080p")
    return cast("QualityMode", value)


def _duration(value: Any) -> int:
    """JSON knows one kind of number: 5.0 is the integer 5, and true is no number at all."""
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if isinstance(value, bool) or not whole or not DURATION_MIN <= value <= DURATION_MAX:
        _wrong("duration_seconds", f"must be a whole number from {DURATION_MIN} to {DURATION_MAX}")
    return int(value)
