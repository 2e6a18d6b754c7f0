"""The world inside the machine under test: Python, libraries, ``ip`` and ``tc``, and the real backend.

Three archives laid end to end, which the kernel unpacks one over the other: what every image of ours begins with
(busybox, the kernel's modules, the init script), what rarely changes (interpreter, libraries, tools; kept by their
content), and Outrider itself, made for each run. The interpreter's files keep the paths that they have on
this machine, so that it finds itself.
"""

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import outrider
from kernels.closure import compiled, imports_of, python_files, shared_library
from outrider.appliances.images import build_initramfs
from outrider.appliances.initramfs import Tree
from outrider.appliances.kernels import Kernel

MODULES = (
    "veth",
    "bridge",
    "vxlan",
    "8021q",
    "sch_ingress",
    "cls_bpf",
    "cls_matchall",
    "act_gact",
)
_PACKAGES = ("domain", "pipeline", "steering")  # of ours: the backend and everything below it
_STAGE = ("__init__.py", "servers.py", "stage.py")  # of the steering tests: the scenery
_TOOLS = ("sh", "ip", "tc", "bridge")  # at /bin, ahead of busybox's own, which know neither vxlan external nor tc
_SITE = "/site"
_HERE = Path(__file__).parent
_SOURCE = Path(outrider.__file__).parent


def build_world(kernel: Kernel, hooks: str, programs: Path, cache: Path, target: Path) -> Path:
    """The initramfs for ``kernel``, expected to have ``hooks``; ``programs`` is the compiled object.

    Raises ``ImageError`` when something that it needs is not on this machine.
    """
    base = _base(cache / "kernel-tests")
    build_initramfs(kernel, MODULES, (_HERE / "inside" / "init.sh").read_text(), target)
    with target.open("ab") as file:
        file.write(base.read_bytes())
        file.writelines(_ours(hooks, programs).archive())
    return target


# -- ours


def _our_sources() -> Iterator[tuple[Path, str]]:
    """(file, path under the site folder) of our Python files."""
    yield _SOURCE / "__init__.py", "outrider/__init__.py"
    for package in _PACKAGES:
        for file in (_SOURCE / package).rglob("*.py"):
            yield file, f"outrider/{file.relative_to(_SOURCE)}"
    for name in _STAGE:
        yield _HERE.parent / "steering" / name, f"steering/{name}"
    yield _HERE / "__init__.py", "kernels/__init__.py"
    for file in (_HERE / "inside").rglob("*.py"):
        yield file, f"kernels/{file.relative_to(_HERE)}"


def _ours(hooks: str, programs: Path) -> Tree:
    tree = Tree()
    for file, place in _our_sources():
        _add_python(tree, file, f"{_SITE}/{place}")
    # the object is found by the digest of its sources
    for source in (_SOURCE / "steering" / "bpf").glob("*.[ch]"):
        tree.add_copy(source, f"{_SITE}/outrider/steering/bpf/{source.name}")
    tree.add_copy(programs, f"/programs/{programs.name}")
    tree.add("/environment", f"EXPECTED_HOOKS={hooks}\n. /environment.python\n".encode())
    return tree


def _add_python(tree: Tree, file: Path, place: str) -> None:
    tree.add_copy(file, place)
    name, code = compiled(file)
    tree.add(f"{Path(place).parent}/__pycache__/{name}", code)


# -- the base


def _base(cache: Path) -> Path:
    """The archive of interpreter, libraries and tools, built when one of their files or our imports changed."""
    ours = {"kernels", "outrider", "steering"}
    imported = {name for file, _ in _our_sources() for name in imports_of([file])}
    python = python_files(name for name in imported if name.partition(".")[0] not in ours)
    programs = [python.interpreter, shared_library("libbpf.so.1"), *python.extensions]
    tools = {f"/bin/{name}": _tool(name) for name in _TOOLS}
    recipe = [Path(__file__), _HERE / "closure.py"]
    digest = _digest([*recipe, *programs, *python.sources, *tools.values()])
    target = cache / f"base-{digest}.cpio"
    if not target.exists():
        tree = Tree()
        for program in (*programs, *tools.values()):
            tree.add_program(program)
        for place, tool in tools.items():
            tree.add_copy(tool, place)
        for source in python.sources:
            _add_python(tree, source, str(source))
        _add_environment(tree, python.interpreter)
        _keep(tree, target)
    return target


def _tool(name: str) -> Path:
    found = shutil.which(name)
    if found is None:
        raise FileNotFoundError(f"{name} is not installed: run './run setup'")
    return Path(found).resolve()


def _add_environment(tree: Tree, interpreter: Path) -> None:
    folders = sorted({str(Path("/", name).parent) for name in tree.files if ".so" in Path(name).name})
    words = f"PYTHON={interpreter}\nexport PYTHONPATH={_SITE} LD_LIBRARY_PATH={':'.join(folders)}\n"
    tree.add("/environment.python", words.encode())


def _keep(tree: Tree, target: Path) -> None:
    """Write the archive, and drop the ones it replaces."""
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_suffix(f".{os.getpid()}")
    with fresh.open("wb") as file:
        file.writelines(tree.archive())
    for former in target.parent.glob("base-*.cpio"):
        former.unlink(missing_ok=True)
    fresh.replace(target)


def _digest(files: Iterable[Path]) -> str:
    content = hashlib.sha256()
    for file in sorted(set(files)):
        content.update(f"{file} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return content.hexdigest()[:16]
