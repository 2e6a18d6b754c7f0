"""Which ports belong to a userspace Open vSwitch, and so never show tc their packets.

Open vSwitch with ``datapath_type=netdev`` takes packets off a kernel port before tc's programs run: a wire there would
look armed and protect nothing. It is asked seldom and in the background; answers are looked up in memory.
"""

import json
import shutil
import subprocess

import structlog

log = structlog.get_logger("hypervisors")

_ASK_S = 2
REASON = (
    "Open vSwitch bridge {bridge} runs in userspace (datapath_type=netdev) and takes packets before tc sees them: "
    "use its kernel datapath"
)


def _ask(*arguments: str) -> str:
    done = subprocess.run(
        ["ovs-vsctl", f"--timeout={_ASK_S}", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_ASK_S + 1,
        check=True,
    )
    return done.stdout


class UserspaceSwitches:
    """Bridges and ports of userspace Open vSwitch, as of the last ``refresh``; none where it is not installed."""

    def __init__(self) -> None:
        self._bridge_of: dict[str, str] = {}
        self._bridges: frozenset[str] = frozenset()

    def refresh(self) -> None:
        """Ask Open vSwitch, which may take seconds. When it does not answer, its last word stays."""
        if shutil.which("ovs-vsctl") is None:
            return
        try:
            rows = json.loads(_ask("--format=json", "--columns=name,datapath_type", "list", "Bridge"))["data"]
            bridges = frozenset(name for name, datapath in rows if datapath == "netdev")
            ports = {port: bridge for bridge in bridges for port in _ask("list-ports", bridge).split()}
        except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError) as error:
            log.debug("Open vSwitch does not answer", reason=str(error))
            return
        self._bridges, self._bridge_of = bridges, ports

    def refusal(self, bridge: str | None, port: str | None) -> str | None:
        """Why a vnic on ``bridge`` or with ``port`` cannot be steered; None when nothing speaks against it."""
        if bridge in self._bridges:
            return REASON.format(bridge=bridge)
        if port in self._bridge_of:
            return REASON.format(bridge=self._bridge_of[port or ""])
        return None
