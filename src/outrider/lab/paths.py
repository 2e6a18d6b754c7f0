"""Where a lab keeps its files: one directory per lab, so that a lab is found from anywhere and removed whole.

Unix socket paths hold at most 107 bytes (unix(7)), and libvirt adds its own below ours: hence short names.
"""

from dataclasses import dataclass
from pathlib import Path

from outrider.domain.names import check_name

RUN_ROOT = Path("/run/outrider/lab")
LONGEST_NAME = 24
_LONGEST_SOCKET_PATH = 107


class LabError(Exception):
    """Something about a lab cannot be done; the message is one sentence for the user."""


def check_short_name(name: str, what: str) -> str:
    """Return ``name`` when it fits file names, host names and socket paths; raise ``LabError`` otherwise."""
    try:
        check_name(name)
    except ValueError as error:
        raise LabError(f"{what}: {error}") from None
    if len(name) > LONGEST_NAME:
        raise LabError(f"{what}: {name!r} is longer than {LONGEST_NAME} characters")
    return name


@dataclass(frozen=True, slots=True)
class ServerPaths:
    """The files of one server of a lab. ``run`` is what the server itself sees as ``/run``."""

    home: Path

    @property
    def run(self) -> Path:
        return self.home / "run"

    @property
    def etc_libvirt(self) -> Path:
        return self.home / "etc-libvirt"

    @property
    def state(self) -> Path:
        return self.home / "agent"

    @property
    def containers(self) -> Path:
        return self.home / "containers"

    @property
    def hook_socket(self) -> Path:
        return self.home / "hook.sock"

    @property
    def libvirt_socket(self) -> Path:
        return self.run / "libvirt" / "libvirt-sock"

    @property
    def libvirt_uri(self) -> str:
        """For connecting from outside the server's namespaces; a server itself also answers ``qemu:///system``."""
        return f"qemu+unix:///system?socket={self.libvirt_socket}"


@dataclass(frozen=True, slots=True)
class LabPaths:
    """The files of one lab under ``home`` (``RUN_ROOT``/NAME unless a test says otherwise)."""

    name: str
    home: Path

    @classmethod
    def of(cls, name: str, run_root: Path = RUN_ROOT) -> "LabPaths":
        """Raises ``LabError`` when the name is unusable or the directory so deep that no socket fits."""
        paths = cls(check_short_name(name, "lab name"), run_root / name)
        deepest = paths.server("x" * LONGEST_NAME).libvirt_socket
        if len(str(deepest)) > _LONGEST_SOCKET_PATH:
            raise LabError(f"the directory {paths.home} is too long a path for the sockets below it")
        return paths

    @property
    def record(self) -> Path:
        return self.home / "lab.json"

    @property
    def lock(self) -> Path:
        return self.home / "lab.lock"

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def controller_socket(self) -> Path:
        return self.home / "controller.sock"

    @property
    def controller_state(self) -> Path:
        return self.home / "controller"

    @property
    def web(self) -> Path:
        """What container guests serve over HTTP."""
        return self.home / "web"

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def server(self, name: str) -> ServerPaths:
        return ServerPaths(self.home / "servers" / name)
