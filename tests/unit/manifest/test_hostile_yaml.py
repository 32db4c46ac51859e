"""Hostile manifests end in an error, quickly and in little memory."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from kling_batch.manifest.bounds import TemplateFault, group
from kling_batch.manifest.document import MAX_BYTES
from kling_batch.manifest.load import load_manifest
from kling_batch.manifest.problems import ManifestInvalid
from kling_batch.manifest.prompt import Templates

BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n"
    for before, name in zip("abcdefghi", "bcdefghij", strict=True)
)
MERGES = "a: &a {" + ", ".join(f"k{n}: 1" for n in range(1000)) + "}\nl:\n" + "- {<<: *a}\n" * 5000
ATTACKS = {
    "alias bomb": BOMB,
    "merge bomb": MERGES,
    "recursive alias": "a: &a [*a]\n",
    "recursive merge": "a: &a {<<: *a}\n",
    "deep flow": "[" * 200_000,
    "deep mapping": "{a: " * 200_000,
    "deep block": "\n".join(" " * n + "a:" for n in range(2000)),
    "many anchors": "".join(f"k{n}: &a{n} {{}}\n" for n in range(20_000)),
    "long scalar": "prompt: " + "x" * 5_000_000,
    "long key": "x" * 2_000_000 + ": 1",
    "one long line of brackets": "[]" * 200_000,
    "quotes": '"' + "\\n" * 500_000,
}


@pytest.fixture
def bounded() -> Iterator[None]:
    """At most five seconds of work, however busy the machine is; they take one."""
    started = time.process_time()
    yield
    assert time.process_time() - started < 5


@pytest.mark.usefixtures("bounded")
@pytest.mark.parametrize("text", ATTACKS.values(), ids=ATTACKS)
def test_hostile_yaml_is_an_error_within_bounds(text: str) -> None:
    with pytest.raises(ManifestInvalid):
        load_manifest(Path("attack.yaml"), text=text.encode())


@pytest.mark.parametrize("text", [BOMB, MERGES], ids=["aliases", "merges"])
def test_bombs_take_little_memory(text: str) -> None:
    tracemalloc.start(1)
    try:
        with pytest.raises(ManifestInvalid):
            load_manifest(Path("attack.yaml"), text=text.encode())
        assert tracemalloc.get_traced_memory()[1] < 200 * 1024 * 1024
    finally:
        tracemalloc.stop()


def test_a_file_above_the_bound_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    with path.open("wb") as file:
        file.truncate(100 * 1000 * 1000)
    with pytest.raises(ManifestInvalid, match="64 MiB"):
        load_manifest(path)
    assert MAX_BYTES > 47_000_000


def test_an_endless_file_ends() -> None:
    with pytest.raises(ManifestInvalid, match="64 MiB"):
        load_manifest(Path("/dev/zero"))


TEMPLATES = [
    "{{ ''.__class__ }}",
    "{{ ''['__class__'] }}",
    "{{ vars|attr('__class__') }}",
    "{{ vars.__init__ }}",
    "{{ vars.keys() }}",
    "{{ vars.items }}",
    "{{ self }}",
    "{{ self._TemplateReference__context }}",
    "{{ range.__class__ }}",
    "{{ loop }}",
    "{{ cycler.__init__.__globals__.os }}",
    "{{ lipsum.__globals__ }}",
    "{{ namespace(a=1) }}",
    "{{ dict(a=1) }}",
    "{% include '/etc/passwd' %}",
    "{% import 'x' as y %}",
    "{% from 'x' import y %}",
    "{% extends 'x' %}",
    "{% block a %}{% endblock %}",
    "{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}",
    "{% call a() %}{% endcall %}",
    "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "{% set a %}{{ id }}{% endset %}",
    "{% filter upper %}a{% endfilter %}",
    "{{ 9**9**9 }}",
    "{{ 'a' * 1000000000 }}",
    "{{ [1] * 1000000000 }}",
    "{{ 999999999999 * 999999999999 * 999999999999 }}",
    "{% for i in range(1000000000) %}x{% endfor %}",
    "{% for i in range(10000000000000000000000) %}x{% endfor %}",
    "{% for a in range(999) %}{% for b in range(999) %}{% for c in range(999) %}{% endfor %}"
    "{% endfor %}{% endfor %}",
    "{% for a in range(999) %}{{ 'x' | upper | lower | title }}{% endfor %}" * 40,
    "{{ '%1000000000d' % 1 }}",
    "{{ '%1000000000d' | format(1) }}",
    "{{ '{:1000000000}'.format(1) }}",
    "{{ 'a' | center(1000000000) }}",
    "{{ 'a' | indent(1000000000) }}",
    "{{ 'a b' | wordwrap(1) }}",
    "{{ 'a' | replace('a', 'a' * 100000) }}",
    "{% set a = 'aaaaaaaaaa' %}" + "{% set a = a | replace('a', 'aaaaaaaaaa') %}" * 20 + "{{ a }}",
    "{% set a = 'aaaaaaaaaa' %}" + "{% set a = a ~ a %}" * 60 + "{{ a }}",
    "{% set a = 'aaaaaaaaaa' %}" + "{% set a = a + a %}" * 60 + "{{ a }}",
    "{% set a = [1] %}" + "{% set a = a + a %}" * 60 + "{{ a }}",
    "{% set a = [1] %}" + "{% set a = [a, a, a, a] %}" * 60 + "{{ a | string | length }}",
    "{% set a = [1] %}" + "{% set a = [a, a, a, a] %}" * 60 + "{{ a }}",
    "{% set a = [1] %}" + "{% set a = [a, a, a, a] %}" * 60 + "{{ a | join }}",
    "{% set a = [1] %}" + "{% set a = [a, a, a, a] %}" * 60 + "{{ a ~ a }}",
    "{% set a = [1] %}{% set b = [1] %}"
    + "{% set a = [a, a, a, a] %}{% set b = [b, b, b, b] %}" * 30
    + "{{ a == b }}",
    "{{ 1 | round(1000000000, 'floor') }}",
    "{{ 'a' | truncate('x') }}",
    "{{ " + "(" * 5000 + "1" + ")" * 4000 + " }}",
    "{{ " + "not " * 2000 + "1 }}",
    "{{ " + "[" * 150 + "]" * 150 + " }}",
    "{% if 1 %}" * 500 + "{% endif %}" * 500,
    "{{ " + "1 + " * 2400 + "1 }}",
    "{{ 'x' }}" * 20_000,
    "{{ (0).real }}",
    "{{ vars['a'].__class__ }}",
    "{% for k in vars %}{{ vars[k].upper() }}{% endfor %}",
]


@pytest.mark.usefixtures("bounded")
@pytest.mark.parametrize("text", TEMPLATES, ids=lambda text: text[:40])
def test_hostile_templates_are_an_error_within_bounds(text: str) -> None:
    scope = {"vars": group("vars", {"a": "x"}), "id": "a"}
    with pytest.raises(TemplateFault):
        Templates().render(text, scope)
