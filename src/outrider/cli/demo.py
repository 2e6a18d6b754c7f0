"""``outrider demo``: the main job on a lab of virtual servers, told as it happens and measured packet by packet."""

import asyncio
import json
import os
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console

from outrider.api.client import ApiClient, Refused, Unreachable
from outrider.cli.exits import FAILED, OK, USAGE, CliError
from outrider.cli.places import cache_dir
from outrider.cli.privilege import require_root
from outrider.domain.appliance import ApplianceClass, ApplianceFormat
from outrider.lab.commands import AGENT, CONTROLLER
from outrider.lab.demo.demo import Demo, DemoPlan
from outrider.lab.demo.narration import Narrator
from outrider.lab.demo.report import render_report
from outrider.lab.demo.result import DemoResult, to_json
from outrider.lab.demo.summary import print_summary
from outrider.lab.demo.watch import DemoFailed, Row
from outrider.lab.lab import CONTAINER, VM, Lab
from outrider.lab.paths import LabError
from outrider.lab.processes import is_alive
from outrider.manifests.convert import to_manifest
from outrider.manifests.problems import ManifestError
from outrider.manifests.read import read_paths

EXAMPLES = Path(__file__).resolve().parents[3] / "examples" / "demo"
ATTACK_PATH = "/attack"
VM_IMAGES = ("guest", "suricata-ips")
LOG_WIDTH = 132  # columns when the output is no terminal

app = typer.Typer(add_completion=False, rich_markup_mode=None)
T = TypeVar("T")


@app.command()
def demo(
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the result as JSON.")] = None,
    report: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a report as one HTML file.")] = None,
    format: Annotated[str, typer.Option(help="What guests and appliances are: vm, or container (faster).")] = VM,
    lab: Annotated[str, typer.Option(metavar="NAME", help="The lab's name; it must not be up.")] = "lab",
    seconds: Annotated[float, typer.Option(min=1, max=60, help="How long to look at each phase.")] = 5.0,
    examples: Annotated[Path, typer.Option(metavar="DIR", help="The manifests to apply.")] = EXAMPLES,
) -> int:
    """A guest is live-migrated under traffic and attack; its inspection moves with it; every packet is counted."""
    require_root("the demo makes namespaces and virtual machines")
    if format not in (VM, CONTAINER):
        raise CliError(USAGE, f"--format {format}: allowed are vm, container")
    _check_writable(json_file, report)
    target = _free_lab(lab)
    plan = _plan(format, examples, seconds)
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=LOG_WIDTH)
    if format == VM:
        _build_images(console)
    with _interruptible(), RunningClient(f"unix:{target.paths.controller_socket}") as product:
        result = Demo(plan, target, product, Narrator(console)).run()
    _write(result, json_file, report)
    print_summary(console, result)
    for name, file in (("JSON", json_file), ("report", report)):
        if file:
            console.print(f"{name}: {file}", highlight=False)
    return FAILED if result.failures else OK


def _check_writable(*files: Path | None) -> None:
    """Better now than after a minute of work."""
    for file in files:
        if file and not os.access(file.absolute().parent, os.W_OK):
            raise CliError(USAGE, f"cannot write {file}: {file.absolute().parent} is no directory one can write to")


def _write(result: DemoResult, json_file: Path | None, report: Path | None) -> None:
    try:
        if json_file:
            json_file.write_text(json.dumps(to_json(result), indent=2) + "\n")
        if report:
            report.write_text(render_report(result))
    except OSError as error:
        raise CliError(FAILED, f"cannot write {error.filename}: {error.strerror}") from error


def _free_lab(name: str) -> Lab:
    """The lab, not up; what a killed run left of it is removed."""
    try:
        lab = Lab(name, cache=cache_dir())
        if _is_up(lab):
            raise CliError(FAILED, f"lab {name!r} is up: take it down first, or give the demo another --lab name")
        lab.down()
    except LabError as error:
        raise CliError(FAILED, str(error)) from error
    return lab


def _is_up(lab: Lab) -> bool:
    if not lab.paths.record.exists():
        return False
    record = lab.status()
    holders = [record.switch, *(server.holder for server in record.servers.values())]
    return any(holder is not None and is_alive(holder) for holder in holders)


def _build_images(console: Console) -> None:
    """What VMs boot from: made once and kept, so this takes time on a machine's first demo only."""
    from outrider.appliances.debian import PackagesUnavailable  # noqa: PLC0415 - only VMs need them
    from outrider.appliances.images import build_image  # noqa: PLC0415
    from outrider.appliances.initramfs import BuildFailed  # noqa: PLC0415

    for name in VM_IMAGES:
        try:
            with console.status(f"image {name}: built now unless it is there already"):
                build_image(name, cache_dir())
        except (BuildFailed, PackagesUnavailable, OSError) as error:
            raise CliError(FAILED, f"image {name} cannot be built: {' '.join(str(error).split())}") from error


def _plan(format: str, examples: Path, seconds: float) -> DemoPlan:
    try:
        values = [document.value for document in read_paths([examples])]
    except (ManifestError, OSError) as error:
        raise CliError(FAILED, *str(error).splitlines()) from error
    if format == CONTAINER:
        values = [
            replace(value, format=ApplianceFormat.CONTAINER) if isinstance(value, ApplianceClass) else value
            for value in values
        ]
    return DemoPlan(
        format=format,
        documents=[to_manifest(value) for value in values],
        attack_path=ATTACK_PATH,
        controller=CONTROLLER,
        agent=AGENT,
        look_s=seconds,
        # A container's interim phase is over in half a second, and must be attacked in it.
        attack_every_s=0.1 if format == CONTAINER else 0.5,
    )


@contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM ends the demo as Ctrl-C does: with everything taken down."""

    def interrupt(_signal: int, _frame: object) -> None:
        raise KeyboardInterrupt

    former = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


class RunningClient:
    """The API for code that is not asynchronous: one client on an event loop of its own thread."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="api", daemon=True)
        self._client: ApiClient | None = None

    def __enter__(self) -> "RunningClient":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._client is not None:
            self._await(self._client.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def apply(self, documents: Sequence[Mapping[str, Any]]) -> None:
        """Apply manifests, all or none."""
        self._call(lambda client: client.apply([dict(document) for document in documents]))

    def rows(self, kind: str) -> Sequence[Row]:
        """The rows of one kind."""
        return self._call(lambda client: client.items(kind))

    def _call(self, ask: Callable[[ApiClient], Coroutine[Any, Any, T]]) -> T:
        try:
            return self._await(self._ask(ask))
        except (Refused, Unreachable) as error:
            raise DemoFailed(" ".join(str(error).split())) from error

    async def _ask(self, ask: Callable[[ApiClient], Coroutine[Any, Any, T]]) -> T:
        if self._client is None:
            self._client = await ApiClient(self._address).__aenter__()
        return await ask(self._client)

    def _await(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()
