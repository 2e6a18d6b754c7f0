"""Suricata as an appliance's engine: its configuration, its rules with a canary among them, and what it says of itself.

The canary is a rule of ours at the end of every rule set. It drops one text, and that text contains the rule set's
digest. A packet with the text that does not come out shows that the engine inspects, and by exactly these rules; no
log or answer of the engine shows as much. It asks for addresses that RFC 5737 keeps for documentation, so that it
can never meet a guest's traffic.
"""

import os
import shutil
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from outrider.appliances.control import Control, ControlTrouble
from outrider.domain.observation import Count
from outrider.domain.ruleset import RuleSet, digest_of

IMAGE = "suricata-ips"
ETC = Path("/etc/suricata")
CANARY_SID = 4_009_999_001  # far above the ranges that rule vendors publish in
PROBE_NETS = ("192.0.2.0/24", "198.51.100.0/24")
RING_FRAMES = 2048

_COUNTERS = {"decoder": ("decoder.pkts", "decoder.bytes"), "accepted": ("ips.accepted", None),
             "blocked": ("ips.blocked", None), "kernel_drops": ("capture.kernel_drops", None)}  # fmt: skip


def canary_token(digest: str) -> str:
    """The text that an engine running the rule set of ``digest`` lets through in no probe."""
    return f"outrider-canary-{digest}"


def digest_of_rules(ruleset: RuleSet | None) -> str:
    """The digest that appliances report for ``ruleset``; without one, that of an empty text."""
    return ruleset.digest if ruleset else digest_of("")


def rules_text(ruleset: RuleSet | None) -> str:
    """The rule file: the user's rules, then the canary bound to their digest."""
    near, far = PROBE_NETS
    token = canary_token(digest_of_rules(ruleset))
    canary = (
        f"drop udp [{near},{far}] any -> [{near},{far}] any "
        f'(msg:"outrider canary"; content:"{token}"; sid:{CANARY_SID}; rev:1;)'
    )
    return f"{ruleset.text.rstrip() if ruleset else ''}\n{canary}\n"


def configuration(folder: str, etc: str, engine_socket: str, threads: str) -> str:
    """Suricata's configuration file for an engine that keeps its files in ``folder``."""
    text = resources.files("outrider.appliances").joinpath("inside/suricata.yaml").read_text()
    words = {"folder": folder, "etc": etc, "socket": engine_socket, "threads": threads, "ring": str(RING_FRAMES)}
    for word, value in words.items():
        text = text.replace(f"@{word}@", value)
    return text


class EngineMissing(Exception):
    """The engine's program is not on this server; the message says what to run."""


def prepare_folder(folder: Path, engine_socket: Path, ruleset: RuleSet | None) -> str:
    """Write what a Suricata in a container needs into ``folder``; return the shell script that starts it.

    Raises ``EngineMissing``.
    """
    program = shutil.which("suricata", path=f"{os.environ.get('PATH', '')}:/usr/bin:/usr/sbin")
    if program is None:
        raise EngineMissing("suricata is not installed on this server: run './run setup'")
    (folder / "suricata.yaml").write_text(configuration(str(folder), str(ETC), str(engine_socket), "auto"))
    (folder / "threshold.config").write_text("")
    (folder / "outrider.rules").write_text(rules_text(ruleset))
    return (
        "for port in eth0 eth1; do\n"
        "  ethtool -K $port tx off sg off tso off gso off gro off >/dev/null\n"
        "  ip link set dev $port up promisc on\n"
        "done\n"
        f"exec {program} -c '{folder}/suricata.yaml' --af-packet -l '{folder}' --pidfile '{folder}/suricata.pid'\n"
    )


def reload_rules(control: Control) -> None:
    """Have the engine load its rule file again while it inspects by the former rules.

    Raises ``ControlTrouble`` also when some of the rules do not load.
    """
    control.call("reload-rules")
    check_rules(control)


def check_rules(control: Control) -> None:
    """Raise ``ControlTrouble`` unless every rule of the file was loaded: a rule left out is inspection left out."""
    stats = _first(control.call("ruleset-stats"))
    failed = _number(stats, "rules_failed")
    if failed:
        listed = _first(control.call("ruleset-failed-rules"))
        example = f": {listed['rule']}" if listed.get("rule") else ""
        raise ControlTrouble(f"{failed} of {failed + _number(stats, 'rules_loaded')} rules do not load{example}")


def observe_counters(control: Control) -> dict[str, Count]:
    """The engine's own counts since it started: frames decoded, accepted, blocked, and lost before it read them.

    They lag by some seconds; until the first of them are there the answer is empty.
    """
    try:
        dumped: Mapping[str, object] = control.call("dump-counters")
    except ControlTrouble as error:
        if "not yet synchronized" in str(error):  # its threads add their counts up every few seconds
            return {}
        raise
    return {
        name: Count(_number(dumped, frames), _number(dumped, octets) if octets else 0)
        for name, (frames, octets) in _COUNTERS.items()
    }


def _number(tree: Mapping[str, object], dotted: str) -> int:
    node: object = tree
    for key in dotted.split("."):
        node = node.get(key, 0) if isinstance(node, Mapping) else 0
    return node if isinstance(node, int) else 0


def _first(message: object) -> Mapping[str, object]:
    if isinstance(message, list):
        message = message[0] if message else {}
    return message if isinstance(message, Mapping) else {}
