"""The words of the domain: request, job, manifest, prices. Plain values and no more."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from kling_batch.structs import dataclass, field

if TYPE_CHECKING:
    from datetime import date

QualityMode = Literal["720p", "1080p"]
Orientation = Literal["video", "image"]
Contract = Literal["canonical", "legacy"]

MODEL = "kling_3_0_motion_control"
DURATION_MIN, DURATION_MAX, DURATION_MAX_IMAGE = 3, 30, 10
PROMPT_MAX = 2500


@lru_cache(maxsize=1)
def _tools() -> tuple[Callable[[], Any], Callable[[str], str]]:
    # At first use, since OpenSSL comes with hashlib (3 ms) and `validate` has no use for it. Of
    # json the quoting only: dumps makes an encoder each time (7 µs a fingerprint, so 2.5 µs).
    from hashlib import blake2b
    from json.encoder import encode_basestring_ascii

    return blake2b(digest_size=16).copy, encode_basestring_ascii


@dataclass(frozen=True, slots=True)
class JobRequest:
    """What one submission asks for, whichever contract carries it."""

    prompt: str
    image_url: str
    video_url: str
    character_orientation: Orientation
    quality_mode: QualityMode
    duration_seconds: int

    def fingerprint(self) -> str:
        """32 hex digits that change exactly when the request does.

        The hash of the request as a JSON list: this text, and with it every fingerprint that a
        state file holds, must stay as it is.
        """
        new_hash, quoted = _tools()
        text = (
            f"[{quoted(self.prompt)}, {quoted(self.image_url)}, {quoted(self.video_url)},"
            f' "{self.character_orientation}", "{self.quality_mode}", {self.duration_seconds}]'
        )
        made = new_hash()
        made.update(text.encode())
        return str(made.hexdigest())


@dataclass(frozen=True, slots=True)
class Job:
    """One video to make: the unit that is planned, paid for and downloaded.

    ``output`` is the file's path below the output folder, with ``/`` between parts.
    ``image`` and ``video`` are the manifest's names for the inputs (or their URLs).
    """

    id: str
    request: JobRequest
    output: str
    pair: str
    take: int
    image: str
    video: str


@dataclass(frozen=True, slots=True)
class Pricing:
    """The rate table: credits a second by quality, and what a credit costs.

    The built-in figures are the service's public ones (api/CONTRACT.md, "Price").
    """

    as_of: date | None = None
    credits_per_second: Mapping[QualityMode, int] = field(
        default_factory=lambda: {"720p": 12, "1080p": 20}
    )
    usd_per_credit: Decimal = Decimal("0.0092")

    def credits(self, request: JobRequest) -> int:
        """Whole credits that this request costs."""
        return self.credits_per_second[request.quality_mode] * request.duration_seconds

    def usd(self, credits: int) -> Decimal:
        """Dollars for these credits, unrounded."""
        return self.usd_per_credit * credits


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits that no submission may pass, in credits. None: no limit."""

    max_credits: int | None = None
    min_balance: int | None = None


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """How the manifest speaks with the service."""

    contract: Contract = "canonical"
    submissions_per_hour: int = 24
    max_in_flight: int = 16


@dataclass(frozen=True, slots=True)
class Manifest:
    """A checked manifest with every job expanded and every prompt rendered.

    ``source`` is the file as the user named it; state and output lie below ``directory``.
    ``decisions`` are the user's words on finished takes (pick, reject, redo) by job id;
    ``redone`` maps each take that a redo adds to the one that it is made instead of.
    """

    name: str
    source: Path
    directory: Path
    jobs: tuple[Job, ...]
    output_directory: Path
    pricing: Pricing = Pricing()
    budget: Budget = Budget()
    service: ServiceSettings = ServiceSettings()
    decisions: Mapping[str, str] = field(default_factory=dict)
    redone: Mapping[str, str] = field(default_factory=dict)
