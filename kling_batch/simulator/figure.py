"""The pictures: a dancer of coloured cells for videos, a portrait in rows for images."""

from __future__ import annotations

import colorsys
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

from kling_batch.simulator.h264 import Colour, Grid

COLUMNS, ROWS = 40, 23
Point = tuple[float, float]
Rgb = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Look:
    """How one dancer looks and moves: colours by hue, movements by size and pace."""

    sky: float
    ground: float
    clothes: float
    skin: float
    sway: float
    reach: float
    step: float
    pace: int

    @classmethod
    def of(cls, seed: object) -> Look:
        """The look of this seed; the same in every run."""
        chance = random.Random(str(seed))  # noqa: S311 - a picture, not a secret
        sky = chance.random()
        return cls(
            sky=sky,
            ground=(sky + chance.uniform(0.06, 0.16)) % 1,
            clothes=(sky + chance.uniform(0.4, 0.6)) % 1,
            skin=chance.uniform(0.04, 0.1),
            sway=chance.uniform(0.6, 2.4),
            reach=chance.uniform(0.4, 1.1),
            step=chance.uniform(0.2, 0.7),
            pace=chance.choice((1, 1, 2)),
        )


def dancer(look: Look, phase: float) -> Grid:
    """The picture at this part (0 to 1) of the dance, which ends as it begins."""
    grid = [[_background(look, row)] * COLUMNS for row in range(ROWS)]
    for part, colour in _body(look, phase):
        for column, row in part:
            if 0 <= row < ROWS and 0 <= column < COLUMNS:
                grid[row][column] = colour
    return grid


def _background(look: Look, row: int) -> Colour:
    if row >= ROWS - 4:
        return _ycbcr(_rgb(look.ground, 0.45, 0.42 - 0.04 * (row - ROWS + 4)))
    return _ycbcr(_rgb(look.sky, 0.5 - 0.015 * row, 0.55 + 0.02 * row))


def _body(look: Look, phase: float) -> Iterator[tuple[Iterator[tuple[int, int]], Colour]]:
    """Limbs and head as cells with their colour, the nearest last."""
    turn = 2 * math.pi * phase
    beat = math.sin(turn)
    bounce = abs(math.sin(turn * look.pace))
    hip: Point = (COLUMNS / 2 + look.sway * beat, 12.5 - bounce)
    neck: Point = (hip[0] - 0.8 * beat, hip[1] - 6)
    clothes = _ycbcr(_rgb(look.clothes, 0.65, 0.8))
    dark = _ycbcr(_rgb(look.clothes, 0.7, 0.45))
    skin = _ycbcr(_rgb(look.skin, 0.45, 0.95))
    for side in (-1, 1):
        foot: Point = (COLUMNS / 2 + side * (2.4 + 3 * look.step * (1 + side * beat)), 20)
        knee: Point = (_middle(hip[0], foot[0]) + side * (0.8 + bounce), 16.5 - bounce)
        yield _line(hip, knee), dark
        yield _line(knee, foot), dark
    for side in (-1, 1):
        lift = look.reach * math.sin(turn * look.pace + (side + 1) * math.pi / 4)
        elbow: Point = (neck[0] + side * 3.4, neck[1] + 2 - 2.5 * lift)
        hand: Point = (elbow[0] + side * (1.6 + lift), elbow[1] - 3.5 * lift)
        yield _line((neck[0], neck[1] + 0.8), elbow), clothes
        yield _line(elbow, hand), skin
    yield _line(neck, hip, wide=1.5), clothes
    yield _disc((neck[0] - 0.5 * beat, neck[1] - 2), 1.9), skin


def _line(start: Point, end: Point, wide: float = 0.8) -> Iterator[tuple[int, int]]:
    steps = max(2, math.ceil(2 * math.dist(start, end)))
    for step in range(steps + 1):
        share = step / steps
        x = start[0] + (end[0] - start[0]) * share
        y = start[1] + (end[1] - start[1]) * share
        yield from _disc((x, y), wide)


def _disc(centre: Point, radius: float) -> Iterator[tuple[int, int]]:
    for row in range(math.floor(centre[1] - radius), math.ceil(centre[1] + radius) + 1):
        for column in range(math.floor(centre[0] - radius), math.ceil(centre[0] + radius) + 1):
            if math.dist(centre, (column, row)) <= radius:
                yield column, row


def _middle(one: float, other: float) -> float:
    return (one + other) / 2


def portrait(look: Look, width: int, height: int) -> Iterator[bytes]:
    """Rows of RGB: a person's outline before a gradient, fit for a character image."""
    skin, clothes = bytes(_rgb(look.skin, 0.45, 0.92)), bytes(_rgb(look.clothes, 0.6, 0.75))
    for row in range(height):
        y = row / height
        back = bytes(_rgb((look.sky + 0.12 * y) % 1, 0.5 - 0.25 * y, 0.6 + 0.3 * y))
        share, part = _outline(y)
        inner = round(share * width)
        side = (width - inner) // 2
        colour = skin if part == "skin" else clothes
        yield back * side + colour * inner + back * (width - side - inner)


def _outline(y: float) -> tuple[float, str]:
    """The outline's width at this height, as a share of the picture's, and what it is of."""
    head = 1 - ((y - 0.32) / 0.19) ** 2
    if head > 0:
        return 0.32 * math.sqrt(head), "skin"
    if 0.48 < y < 0.6:
        return 0.14, "skin"
    shoulders = 1 - ((min(y, 0.85) - 0.85) / 0.27) ** 2
    if y >= 0.6 and shoulders > 0:
        return 0.72 * math.sqrt(shoulders), "clothes"
    return 0.0, "clothes"


def _rgb(hue: float, saturation: float, value: float) -> Rgb:
    red, green, blue = colorsys.hsv_to_rgb(hue, max(0.0, saturation), min(1.0, value))
    return round(255 * red), round(255 * green), round(255 * blue)


def _ycbcr(rgb: Rgb) -> Colour:
    """BT.601, limited range: what players assume for small pictures."""
    red, green, blue = rgb
    return (
        round(16 + (65.738 * red + 129.057 * green + 25.064 * blue) / 256),
        round(128 + (-37.945 * red - 74.494 * green + 112.439 * blue) / 256),
        round(128 + (112.439 * red - 94.154 * green - 18.285 * blue) / 256),
    )
