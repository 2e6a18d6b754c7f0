"""Each server's own libvirt."""

from pathlib import Path

from outrider.lab.paths import LabError, LabPaths
from outrider.lab.record import ServerRecord


def start_libvirt(paths: LabPaths, server: ServerRecord, cache: Path, *, with_hook: bool) -> None:
    raise LabError("not yet")
