#!/usr/bin/python3 -IS
# installed by Outrider
"""Run by libvirt around a guest's life (https://libvirt.org/hooks.html): arms the guest's ports before it runs.

At ``start begin`` the ports exist and are named in the domain's XML on standard input, and QEMU does not run yet. This
script sends the XML to the agent and waits for its word that the ports are armed; without it, it refuses the start (on
the target of a migration: the migration, and the source keeps running). libvirt is never asked anything here: it
blocks while a hook runs. All other phases are passed on as news.

One JSON line each way: {"op": "arm", "phase": …, "xml": …} is answered by {"ok": true} or {"ok": false, "error": …}.
"""

import json
import os
import socket
import sys
import time

# plain os.path and open: importing pathlib would double the time this script takes
SETTINGS = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "outrider-hook.json"))  # noqa: PTH100, PTH118, PTH120
DEADLINE_S = 5.0


class Refusal(Exception):
    """The guest must not start; the message becomes part of libvirt's own error."""


def settings() -> tuple[str, float]:
    """Where the agent listens, and how long to wait for it in seconds."""
    try:
        with open(SETTINGS) as file:  # noqa: PTH123
            read = json.load(file)
        path = os.environ.get("OUTRIDER_HOOK_SOCKET") or read["socket"]
        return path, float(read.get("deadline_s", DEADLINE_S))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Refusal(f"its settings in {SETTINGS} cannot be read ({error})") from None


def receive_line(agent: socket.socket, deadline: float) -> bytes:
    """One line from the agent, or as much as came before it closed; raises TimeoutError after the deadline."""
    answer = b""
    while not answer.endswith(b"\n"):
        agent.settimeout(max(deadline - time.monotonic(), 0.001))
        part = agent.recv(65536)
        if not part:
            break
        answer += part
    return answer


def arm(xml: str, phase: str) -> None:
    """Return when the agent has armed the ports; raise Refusal otherwise."""
    path, limit = settings()
    deadline = time.monotonic() + limit
    request = json.dumps({"op": "arm", "phase": phase, "xml": xml}) + "\n"
    try:
        with socket.socket(socket.AF_UNIX) as agent:
            agent.settimeout(limit)
            agent.connect(path)
            agent.sendall(request.encode())
            answer = json.loads(receive_line(agent, deadline))
        accepted, error = answer.get("ok") is True, answer.get("error")
    except TimeoutError:
        raise Refusal(f"the agent did not arm its ports within {limit:g} s") from None
    except OSError as error:
        raise Refusal(f"the agent cannot be reached at {path} ({error.strerror or error})") from None
    except (ValueError, AttributeError):
        raise Refusal("the agent gave no answer that can be understood") from None
    if not accepted:
        raise Refusal(error or "the agent gave no reason")


def tell(xml: str, phase: str) -> None:
    """Pass news on if the agent is there to take it; nothing depends on it."""
    try:
        path, _ = settings()
        with socket.socket(socket.AF_UNIX) as agent:
            agent.settimeout(0.2)
            agent.connect(path)
            agent.sendall((json.dumps({"op": "changed", "phase": phase, "xml": xml}) + "\n").encode())
            agent.recv(4096)  # an agent that lives answers at once; one that does not is not waited for
    except (OSError, Refusal):
        return  # the agent sees the same through libvirt's own events


def main(arguments: list[str]) -> int:
    guest, operation, stage = (*arguments, "", "", "")[:3]
    xml = sys.stdin.read()
    phase = f"{operation} {stage}"
    if phase != "start begin":
        tell(xml, phase)
        return 0
    try:
        arm(xml, phase)
    except Refusal as refusal:
        print(f"Outrider does not let {guest} start: {refusal}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
