"""Asks a server's agent to arm a container's port before the container can send: what libvirt's hook does for a VM.

The request is the hook's own (``outrider.hypervisors.hook``), with the container's description in place of XML.
"""

import json
import socket
from pathlib import Path

from outrider.lab.paths import LabError

DEADLINE_S = 5.0


def request_arming(hook_socket: Path, description: str, phase: str) -> None:
    """Return when the agent has armed the described ports.

    Raises ``LabError`` when it refuses, is not there, or takes longer than ``DEADLINE_S`` seconds.
    """
    request = json.dumps({"op": "arm", "xml": description, "phase": phase}) + "\n"
    try:
        with socket.socket(socket.AF_UNIX) as agent:
            agent.settimeout(DEADLINE_S)
            agent.connect(str(hook_socket))
            agent.sendall(request.encode())
            with agent.makefile("rb") as answers:
                answer = json.loads(answers.readline() or b"{}")
    except (OSError, ValueError) as error:
        raise LabError(f"the agent did not acknowledge that the ports are armed: {error}") from None
    if answer.get("ok") is not True:
        raise LabError(f"the agent refused: {answer.get('error', 'it closed the connection without an answer')}")
