"""The command lines of Outrider itself, as a lab starts it: the same programs that run on real servers."""

import sys

_OUTRIDER = (sys.executable, "-m", "outrider.cli.main")

CONTROLLER = (*_OUTRIDER, "controller", "--state-dir", "{state_dir}", "--socket", "{socket}")
"""For ``Lab.up(controller=…)``."""

AGENT = (
    *_OUTRIDER,
    "agent",
    *("--server", "{server}"),
    *("--state-dir", "{state_dir}"),
    *("--controller", "{controller}"),
    *("--tunnel-interface", "{tunnel_interface}"),
    *("--tunnel-address", "{tunnel_address}"),
    *("--hook-socket", "{hook_socket}"),
    *("--container-dir", "{container_dir}"),
    *("--libvirt", "{libvirt}"),
    *("--arm-pattern", "vnet*"),
    *("--arm-pattern", "vc*"),
)
"""For ``Lab.up(agent=…)``."""
