"""What a Python program needs to run elsewhere, asked of the interpreter itself.

Nothing here names a path of this machine or a version of Python: the interpreter says where its library lies, and which
files the imports of our own code really open.
"""

import ast
import importlib.util
import json
import marshal
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_REPORT = """
import importlib, json, sys
for name in json.load(sys.stdin):
    importlib.import_module(name)
files = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
json.dump([file for file in files if file], sys.stdout)
"""


@dataclass(frozen=True, slots=True)
class PythonFiles:
    """The interpreter and the files behind some imports: Python sources, and extension modules."""

    interpreter: Path
    sources: frozenset[Path]
    extensions: frozenset[Path]


def imports_of(sources: Iterable[Path]) -> set[str]:
    """Every module that ``sources`` import anywhere, also inside functions, by absolute name."""
    found: set[str] = set()
    for source in sources:
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module)
    return found


def python_files(modules: Iterable[str]) -> PythonFiles:
    """The files that importing ``modules`` opens, all of them from the standard library.

    A package that is entered is taken whole, since packages import parts of themselves late. ``-m`` needs ``runpy``.
    Raises ``LookupError`` for a module that comes from elsewhere: the backend is to need nothing but Python.
    """
    wanted = json.dumps(["runpy", *sorted(modules)])
    command = [sys.executable, "-I", "-S", "-c", _REPORT]  # -S: nothing that this machine adds to every start
    done = subprocess.run(command, input=wanted, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LookupError(f"the backend imports more than Python brings: {done.stderr.strip().splitlines()[-1]}")
    library = Path(sysconfig.get_path("stdlib")).resolve()
    opened = {Path(file).resolve() for file in json.loads(done.stdout)} | set(_site(library))
    files = {file for path in opened for file in _with_package(path, library)}
    return PythonFiles(
        Path(sys.executable).resolve(),
        frozenset(file for file in files if file.suffix == ".py"),
        frozenset(file for file in files if file.suffix == ".so"),
    )


def _site(library: Path) -> Iterator[Path]:
    """What an ordinary start imports beside the interpreter's own."""
    return (library / name for name in ("site.py", "_sitebuiltins.py"))


def _with_package(path: Path, library: Path) -> Iterator[Path]:
    top = library / path.relative_to(library).parts[0]
    if (top / "__init__.py").exists():
        return (file for file in top.rglob("*.py") if "__pycache__" not in file.parts)
    return iter((path,))


def shared_library(name: str) -> Path:
    """The file behind ``name`` where the dynamic loader finds it; raises ``FileNotFoundError``."""
    listing = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    for line in listing.splitlines():
        if line.split(" ", 1)[0].strip() == name:
            return Path(line.rpartition("=> ")[2])
    raise FileNotFoundError(f"{name} is not installed: run './run setup'")


def compiled(source: Path) -> tuple[str, bytes]:
    """(name within ``__pycache__``, content) of ``source`` compiled, valid whatever the file's times are (PEP 552)."""
    code = compile(source.read_bytes(), str(source), "exec", dont_inherit=True)
    unchecked = 0b01.to_bytes(4, "little")
    name = Path(importlib.util.cache_from_source(source.name)).name
    return name, importlib.util.MAGIC_NUMBER + unchecked + bytes(8) + marshal.dumps(code)
