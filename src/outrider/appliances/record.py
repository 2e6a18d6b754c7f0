"""What an agent writes down of an appliance, so that the next agent finds it again.

One folder per appliance, named by the short id that its ports carry too, since a Unix socket's path may only have
107 characters. The record says what was wanted and what was started; whether it still runs is asked of the kernel.
"""

import contextlib
import json
import re
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from outrider.appliances.ports import AppliancePorts, short_id
from outrider.appliances.process import ProcessId
from outrider.domain.appliance import ApplianceClass, ApplianceFormat
from outrider.domain.intent import ApplianceIntent
from outrider.domain.ruleset import RuleSet

_LONGEST_SOCKET_PATH = 107
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, slots=True)
class Record:
    """One appliance as the last agent left it. Times are seconds since the Unix epoch.

    ``proven_digest`` is the digest of the rule set whose canary it has stopped last.
    """

    intent: ApplianceIntent
    requested_at: float
    attempts: int = 0
    process: ProcessId | None = None
    ready_at: float | None = None
    proven_digest: str | None = None


@dataclass(frozen=True, slots=True)
class ApplianceFolder:
    """The files of one appliance under the agent's state folder."""

    path: Path

    @classmethod
    def of(cls, state_dir: Path, appliance: str) -> "ApplianceFolder":
        """Raises ``ValueError`` when sockets in the folder would have too long a path."""
        path = state_dir / short_id(appliance)
        longest = len(str(path / "suricata.sock"))
        if longest > _LONGEST_SOCKET_PATH:
            raise ValueError(f"the state folder {state_dir} is {longest - _LONGEST_SOCKET_PATH} characters too deep")
        return cls(path)

    @property
    def control_socket(self) -> Path:
        """Of a VM's virtio-serial port."""
        return self.path / "control.sock"

    @property
    def qmp_socket(self) -> Path:
        """Of QEMU's machine protocol."""
        return self.path / "qmp.sock"

    @property
    def engine_socket(self) -> Path:
        """Of a container's engine."""
        return self.path / "suricata.sock"

    @property
    def console(self) -> Path:
        """What the appliance printed."""
        return self.path / "console.log"

    def make(self) -> None:
        """An empty folder that only root reads, but for the record in it."""
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        for file in self.path.iterdir():
            if file != self._record:
                shutil.rmtree(file) if file.is_dir() else file.unlink()

    def remove(self) -> None:
        """Leave nothing of it."""
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.path)

    @property
    def _record(self) -> Path:
        return self.path / "record.json"

    def write(self, record: Record) -> None:
        """Replace the record in one step: a reader sees the old one or the new one."""
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = self._record.with_suffix(".fresh")
        fresh.write_text(json.dumps(asdict(record), indent=1))
        fresh.replace(self._record)

    def read(self) -> Record | None:
        """The record, or None when there is none that can be understood (a newer or an older agent's)."""
        try:
            return _record_of(json.loads(self._record.read_text()))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def last_words(self) -> str:
        """The last line the appliance printed, for a reason a person can use; "" when it said nothing."""
        try:
            lines = self.console.read_text(errors="replace").split("\n")
        except OSError:
            return ""
        said = [_COLOURS.sub("", line).strip() for line in lines if line.strip()]
        return said[-1][:200] if said else ""


def _record_of(data: dict[str, object]) -> Record:
    intent = data["intent"]
    assert isinstance(intent, dict)
    shape = dict(intent["appliance_class"])
    shape["controls"] = tuple(shape["controls"])
    shape["format"] = ApplianceFormat(shape["format"])
    ruleset = RuleSet(**intent["ruleset"]) if intent["ruleset"] else None
    process = data["process"]
    rest = {key: value for key, value in data.items() if key not in ("intent", "process")}
    return Record(
        intent=ApplianceIntent(intent["name"], ApplianceClass(**shape), ruleset),
        process=ProcessId(**process) if isinstance(process, dict) else None,
        **rest,  # type: ignore[arg-type]  # a wrong type is a record of another version, and raises above or below
    )


def known_folders(state_dir: Path) -> list[ApplianceFolder]:
    """Every appliance folder there is."""
    if not state_dir.is_dir():
        return []
    return [ApplianceFolder(path) for path in sorted(state_dir.iterdir()) if path.is_dir()]


def ports_of(folder: ApplianceFolder) -> AppliancePorts:
    """The ports that belong to ``folder``, also when its record cannot be read."""
    return AppliancePorts(f"ori{folder.path.name}", f"oro{folder.path.name}")
