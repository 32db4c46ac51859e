"""The two drawings at the page's head, as SVG: credits over time, and credits by state."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from markupsafe import Markup

from kling_batch.report.summary import Report, StateTotal
from kling_batch.report.text import local_time, moment, thousands

WIDTH, HEIGHT = 440, 128
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 14, 22
_BAR = 20


def spending_chart(report: Report) -> Markup:
    """Credits spent over time, as steps, with a line where the plan lies."""
    steps = report.spending
    planned, spent = report.totals.planned, report.totals.spent
    if not steps:
        return Markup()
    first, last = steps[0][0], max(steps[-1][0], steps[0][0] + 1)
    top = _round_up(max(planned, *(credits for _, credits in steps), 1))

    def x(at: float) -> float:
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * (at - first) / (last - first)

    def y(credits: float) -> float:
        return HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * credits / top

    path = _steps(steps, x, y)
    floor, right = y(0), WIDTH - _RIGHT
    grid = Markup().join(_grid_line(y(top * part / 2), top * part // 2) for part in range(3))
    begin, end = (moment(local_time(one, report.facts.zone)) for one in (first, last))
    return Markup(
        '<svg class="chart" viewBox="0 0 {w} {h}" role="img" aria-labelledby="c1 c1d">'
        '<title id="c1">Credits over time</title><desc id="c1d">{desc}</desc>{grid}'
        '<path class="area" d="M{x0} {floor}{path}H{right}V{floor}Z"/>'
        '<path class="line" d="M{x0} {floor}{path}H{right}"/>'
        '<path class="goal" d="M{x0} {goal}H{right}"/>'
        '<text class="tick" x="{x0}" y="{below}">{begin}</text>'
        '<text class="tick end" x="{right}" y="{below}">{end}</text></svg>'
    ).format(
        w=WIDTH,
        h=HEIGHT,
        desc=f"{thousands(spent)} credits spent of {thousands(planned)} planned,"
        f" from {begin} to {end}.",
        grid=grid,
        x0=_LEFT,
        floor=f"{floor:.1f}",
        path=Markup(path),  # noqa: S704 -- made of numbers alone
        right=right,
        goal=f"{y(planned):.1f}",
        below=HEIGHT - 6,
        begin=_short(begin),
        end=_short(end, begin),
    )


def _steps(
    steps: Sequence[tuple[float, int]], x: Callable[[float], float], y: Callable[[float], float]
) -> str:
    """Path commands: one step a pixel column at most, however many jobs there are."""
    columns: dict[int, int] = {}
    for at, credits in steps:
        columns[round(x(at))] = credits
    return "".join(f"H{column}V{y(credits):.1f}" for column, credits in columns.items())


def _grid_line(y: float, credits: float) -> Markup:
    return Markup(
        '<path class="grid" d="M{l} {y}H{r}"/><text class="tick end" x="{t}" y="{ty}">{n}</text>'
    ).format(
        l=_LEFT, r=WIDTH - _RIGHT, y=f"{y:.1f}", t=_LEFT - 6, ty=f"{y + 4:.1f}", n=f"{credits:,.0f}"
    )


def _round_up(value: float) -> int:
    """The next even 1, 2, 3, 4, 5, 6, 8 or 10 times a power of ten."""
    power = 10 ** max(len(str(int(value))) - 1, 0)
    return next(int(n * power) for n in (1, 2, 3, 4, 5, 6, 8, 10) if n * power >= value)


def _short(text: str, other: str = "") -> str:
    """The moment without its year and seconds, and without its day where that is the other's."""
    day, _, clock = text.partition(", ")
    hour = clock[:5]
    return hour if other.startswith(day) else f"{day.rsplit(' ', 1)[0]}, {hour}"


def state_chart(by_state: Sequence[StateTotal]) -> Markup:
    """One bar a state: its credits, and the jobs that they are for."""
    if not by_state:
        return Markup()
    most = max((one.credits for one in by_state), default=1) or 1
    left, room = 108, WIDTH - 108 - 128
    bars = Markup().join(
        Markup(
            '<g><text class="tick end" x="{lx}" y="{ty}">{word}</text>'
            '<rect class="bar s-{state}" x="{x}" y="{y}" width="{w}" height="12" rx="2"/>'
            '<text class="tick strong" x="{tx}" y="{ty}">{text}</text></g>'
        ).format(
            lx=left - 8,
            ty=_TOP + index * _BAR + 9,
            word=one.word,
            state=one.state,
            x=left,
            y=_TOP + index * _BAR - 1,
            w=f"{max(room * one.credits / most, 2):.1f}",
            tx=f"{left + max(room * one.credits / most, 2) + 7:.1f}",
            text=f"{thousands(one.credits)} · {_jobs(one.jobs)}",
        )
        for index, one in enumerate(by_state)
    )
    told = "; ".join(
        f"{one.word}: {thousands(one.credits)} credits, {_jobs(one.jobs)}" for one in by_state
    )
    return Markup(
        '<svg class="chart" viewBox="0 0 {w} {h}" role="img" aria-labelledby="c2 c2d">'
        '<title id="c2">Credits by state</title><desc id="c2d">{told}</desc>{bars}</svg>'
    ).format(w=WIDTH, h=_TOP + len(by_state) * _BAR, told=told, bars=bars)


def _jobs(number: int) -> str:
    return f"{thousands(number)} job{'' if number == 1 else 's'}"
