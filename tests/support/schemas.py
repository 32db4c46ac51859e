"""The shipped schemas as an independent validator reads them."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema

FOLDER = Path(__file__).parents[2] / "schemas"


def validator(kind: str) -> jsonschema.Draft7Validator:
    """What holds a value to ``KIND.v1.schema.json``."""
    return jsonschema.Draft7Validator(json.loads((FOLDER / f"{kind}.v1.schema.json").read_text()))
