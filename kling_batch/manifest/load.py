"""A manifest file → a checked, expanded, rendered Manifest, or everything that is wrong with it."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from kling_batch.collector import paused
from kling_batch.files import is_below
from kling_batch.manifest.decisions import marked, unknown
from kling_batch.manifest.document import MAX_BYTES, Document, Unreadable, events
from kling_batch.manifest.expand import MAX_JOBS, Cell, Expansion
from kling_batch.manifest.inputs import Inputs
from kling_batch.manifest.jobs import Assembly
from kling_batch.manifest.outputs import DEFAULT_FILENAME, is_reserved
from kling_batch.manifest.problems import Finding, ManifestInvalid, Place, finding
from kling_batch.manifest.problems import Path as Way
from kling_batch.manifest.reading import read
from kling_batch.manifest.schema import Checks, load_schema
from kling_batch.manifest.secrets import keys_in, keys_in_text
from kling_batch.manifest.settle import Source, settle
from kling_batch.manifest.shape import Explainer, Shape, inspect, mended
from kling_batch.manifest.twins import twins
from kling_batch.model import Budget, Manifest, Pricing, QualityMode, ServiceSettings
from kling_batch.structs import dataclass, field

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")


def load_manifest(
    source: Path,
    *,
    text: bytes | None = None,
    table: Callable[[Path], bytes] | None = None,
    private_urls: bool = False,
) -> Manifest:
    """The manifest at ``source``, checked, with every job expanded and every prompt rendered.

    ``text`` is read in place of the file (standard input, a git revision), and ``table`` reads
    those that ``pairs_from`` names beside ``source``: from disk unless given. ``private_urls``
    admits loopback and private hosts, for a service that is itself on loopback. Raises
    ManifestInvalid.
    """
    with paused():
        return _Loading(source, private_urls, table or _read_file).manifest(text)


def manifest_name(source: Path, text: bytes | None = None) -> str:
    """The manifest's name, read only as far as its top-level ``name``; the file's stem without.

    `text` is read in its place, where given. Works on a manifest that is otherwise invalid.
    Raises ManifestInvalid when the file can't be read or neither is usable as a name.
    """
    from kling_batch.manifest.naming import stated_name

    try:
        with source.open("rb") if text is None else io.BytesIO(text) as file:
            stated = stated_name(events(file))
    except OSError as error:
        raise ManifestInvalid(settle([_no_file(error)], Source(str(source), b""), {})) from None
    name = source.stem if stated is None else stated
    if not _usable(name):
        raise ManifestInvalid(settle([_bad_name(name, stated)], Source(str(source), b""), {}))
    return name


def _usable(name: str) -> bool:
    return _NAME.match(name) is not None and not is_reserved(name)


def _bad_name(name: str, stated: object) -> Finding:
    if stated is None:
        hint = "add `name:` with letters, digits, `.`, `_` and `-`"
        return finding((), f"the file's stem `{name[:60]}` can't name the batch", hint=hint)
    hint = "letters, digits, `.`, `_` and `-`, starting with a letter or digit"
    return finding(("name",), f"`{name[:60]}` can't name files", hint=hint)


def _no_file(error: OSError) -> Finding:
    if isinstance(error, FileNotFoundError):
        return finding(
            (), "there is no such file", hint="check the path; `kling-batch init` makes one"
        )
    if isinstance(error, IsADirectoryError):
        return finding((), "this is a folder, not a manifest", hint="name the YAML file in it")
    return finding((), f"this file can't be read: {error.strerror or error}")


@dataclass(slots=True)
class _Loading:
    """One load: the steps in their order, and the findings of all of them."""

    source: Path
    private: bool
    read_table: Callable[[Path], bytes]
    main: Source = field(default_factory=lambda: Source("", b""))
    tables: dict[str, Source] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def manifest(self, text: bytes | None) -> Manifest:
        self.main = Source(str(self.source), b"")  # what can't be read has a name all the same
        self.main = Source(str(self.source), self._bytes(text))
        document = self._document(self.main.data)
        self.main.starts = document.starts
        self.findings += document.findings
        checks = Checks(load_schema())
        shape = inspect(checks, document.value)
        told = {f.path for f in document.findings}
        self.findings += [f for f in shape.findings if f.path not in told]
        self.findings += keys_in(document.value, self.main.data)
        document.value = None  # of 100,000 pairs, each is let go as it becomes a job
        value = shape.value
        name = self._name(value)
        directory, filename = self._output(value, name)
        pricing = self._pricing(value.get("pricing", {}))
        assembly = self._assemble(shape, checks, filename)
        if self.findings:
            # Places are looked up in the text alone: 50 MiB of jobs and values make room for it.
            del document, shape, value, assembly
            raise ManifestInvalid(settle(self.findings, self.main, self.tables))
        return Manifest(
            name=name,
            source=self.source,
            directory=self.source.parent,
            jobs=tuple(assembly.jobs),
            output_directory=self.source.parent / directory,
            pricing=pricing,
            budget=Budget(**_integers(value.get("budget", {}))),
            service=ServiceSettings(**_integers(value.get("service", {}))),
            decisions=value.get("decisions") or {},
            redone=assembly.redone,
        )

    def _bytes(self, text: bytes | None) -> bytes:
        try:
            data = _read_file(self.source) if text is None else text
        except OSError as error:
            self._stop(_no_file(error))
        data = data.removeprefix(b"\xef\xbb\xbf")
        self.main = Source(str(self.source), data)
        if len(data) > MAX_BYTES:
            said = f"this file has more than {MAX_BYTES >> 20} MiB"
            self._stop(finding((), said, hint="part it over several manifests, or use a matrix"))
        if b"\0" in data:
            self._stop(_at_byte(data, data.index(b"\0"), "this file is not text: it holds a NUL"))
        try:
            data.decode("utf-8")
        except UnicodeDecodeError as error:
            self._stop(_at_byte(data, error.start, "this file is not UTF-8 text"))
        return data

    def _stop(self, found: Finding) -> None:
        raise ManifestInvalid(settle([*self.findings, found], self.main, self.tables))

    def _document(self, data: bytes) -> Document:
        try:
            document = read(data)
        except Unreadable as error:
            self._stop(error.finding)
            raise
        if document.empty:
            said = "the file holds no manifest: it is empty"
            self._stop(finding((), said, hint="start with `version: 1`, or run `kling-batch init`"))
        return document

    def _name(self, value: Mapping[str, Any]) -> str:
        stated = value.get("name")
        name = self.source.stem if stated is None else str(stated)
        if not _usable(name) and not any(f.path == ("name",) for f in self.findings):
            self.findings.append(_bad_name(name, stated))
        return name

    def _output(self, value: Mapping[str, Any], name: str) -> tuple[str, str]:
        output = value.get("output", {})
        directory = output.get("directory", f"outputs/{name}")
        fault = _folder_fault(self.source.parent, directory)
        if fault is not None:
            path: Way = ("output", "directory") if "directory" in output else ()
            hint = "give a relative folder below the manifest's: `outputs/spring`"
            self.findings.append(finding(path, f"`{directory[:80]}` {fault}", hint=hint))
        return directory, output.get("filename", DEFAULT_FILENAME)

    def _pricing(self, given: Mapping[str, Any]) -> Pricing:
        from datetime import date
        from decimal import Decimal

        built_in = Pricing()
        as_of = None
        if "as_of" in given:
            try:
                as_of = date.fromisoformat(given["as_of"])
            except ValueError:
                said = f"`{given['as_of']}` is not a day of the calendar"
                self.findings.append(finding(("pricing", "as_of"), said, hint="YYYY-MM-DD"))
        usd = given.get("usd_per_credit")
        rates: dict[QualityMode, int] = _integers(given.get("credits_per_second", {}))
        return Pricing(
            as_of=as_of,
            credits_per_second={**built_in.credits_per_second, **rates},
            usd_per_credit=built_in.usd_per_credit if usd is None else Decimal(str(usd)),
        )

    def _assemble(self, shape: Shape, checks: Checks, filename: str) -> Assembly:
        value = shape.value
        misshapen = bool(self.findings)
        decisions = {} if misshapen else value.get("decisions") or {}
        inputs = Inputs(value, private=self.private)
        expansion = Expansion(inputs)
        assembly = Assembly(
            value.get("defaults") or {}, value.get("vars") or {}, filename, shape.doubts
        )
        assembly.marked = marked(decisions)
        for cell in self._cells(value, expansion, checks):
            if cell.file:
                assembly.files.setdefault(cell.path[:2], cell.file)
            if not assembly.add(cell):
                said = f"the manifest stands for more than {MAX_JOBS:,} jobs"
                hint = "part it over several manifests"
                self.findings.append(Finding(cell.path, (said,), hint, file=cell.file))
                break
        assembly.redo(decisions)
        self.findings += [*inputs.findings, *expansion.findings, *assembly.findings()]
        self.findings += twins(assembly)
        if decisions and not self.findings:
            self.findings += unknown(decisions, assembly.jobs)
        if not assembly.count and not misshapen and not self.findings:
            said = "no job comes out of this manifest"
            hint = "list `pairs`, or give a `matrix` or `pairs_from`"
            self.findings.append(finding((), said, hint=hint))
        return assembly

    def _cells(
        self, value: Mapping[str, Any], expansion: Expansion, checks: Checks
    ) -> Iterator[Cell]:
        yield from expansion.pairs(value.get("pairs") or [], ("pairs",))
        for index, block in enumerate(value.get("matrix") or ()):
            if block is not None:
                yield from expansion.block(block, ("matrix", index))
        for index, given in enumerate(value.get("pairs_from") or ()):
            if given is not None:
                yield from self._table(given, ("pairs_from", index), expansion, checks)

    def _table(self, given: str, path: Way, expansion: Expansion, checks: Checks) -> Iterator[Cell]:
        from kling_batch.manifest.rows import read_rows

        data = self._table_bytes(given, path)
        if data is None:
            return
        file = str(self.source.parent / given)
        schema = checks.root["definitions"]["pair"]
        rows = read_rows(data, file, path, frozenset(schema["properties"]) - {"vars"})
        self.tables[file] = Source(file, data, rows.lines, rows.columns, path)
        self.findings += rows.findings
        self.findings += keys_in_text(data, path, file)
        yield from expansion.pairs(self._shaped(rows.pairs, path, file, checks), path, file)

    def _shaped(
        self, pairs: list[dict[str, Any]], path: Way, file: str, checks: Checks
    ) -> list[dict[str, Any] | None]:
        schema = checks.root["definitions"]["pair"]
        check, explain = checks.check(schema), Explainer(checks)
        shaped: list[dict[str, Any] | None] = list(pairs)
        for index, pair in enumerate(pairs):
            if not check(pair):
                found = explain.findings(schema, pair, (*path, index))
                shaped[index] = mended(pair, found, len(path) + 1)
                for said in found:
                    self.findings.append(Finding(said.path, said.said, said.hint, file=file))
        return shaped

    def _table_bytes(self, given: str, path: Way) -> bytes | None:
        fault = _folder_fault(self.source.parent, given)
        file = self.source.parent / given
        if fault is None:
            try:
                data = self.read_table(file)
                if len(data) <= MAX_BYTES:
                    return data
                fault = f"has more than {MAX_BYTES >> 20} MiB"
            except OSError as error:
                fault = f"can't be read: {error.strerror or error}"
        hint = "give a CSV file in the manifest's folder"
        self.findings.append(finding(path, f"`{given[:80]}` {fault}", hint=hint))
        return None


def _read_file(source: Path) -> bytes:
    """At most one byte more than is allowed, so that an endless file ends."""
    with source.open("rb") as file:
        return file.read(MAX_BYTES + 4)


def _at_byte(data: bytes, position: int, said: str) -> Finding:
    start = data.rfind(b"\n", 0, position) + 1
    column = len(data[start:position].decode("utf-8", "replace")) + 1
    place = Place(data.count(b"\n", 0, position) + 1, column)
    return Finding((), (said,), "a manifest is UTF-8 text", place=place)


def _integers(given: Mapping[str, Any]) -> dict[Any, Any]:
    # The schema's integers may be written 5.0.
    return {k: int(v) if isinstance(v, float) else v for k, v in given.items()}


def _folder_fault(base: Path, given: str) -> str | None:
    """Why this is not a safe path below the manifest's folder, or None."""
    if re.search(r"[\x00-\x1f\x7f\\:]", given) or given.startswith("~"):
        return "holds a character that a relative path can't have"
    if given.startswith("/"):
        return "is an absolute path"
    if ".." in given.split("/"):
        return "leaves the manifest's folder"
    if not is_below(base / given, base):
        return "leads out of the manifest's folder through a link"
    return None
