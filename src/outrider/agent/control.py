"""The agent's local Unix socket: one JSON line asked, one answered.

The libvirt hook arms guests through it, and operators reach a server through it when the controller is dead. Who may
open the socket (root) may do anything here that root may do anyway.
"""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from outrider.agent.loop import AgentLoop, ArmingRefused, GuestUnknown

BEGIN_DEADLINE_S = 4.0  # less than the hook's own
MAX_REQUEST_BYTES = 4 * 1024 * 1024

log = structlog.get_logger("agent")

Request = dict[str, Any]
Trace = Callable[[int, str, bytes], list[str]]


class ControlSocket:
    """Answers on ``listening`` while it runs. ``trace`` asks the live programs about a packet."""

    def __init__(self, listening: socket.socket, loop: AgentLoop, trace: Trace) -> None:
        self._listening, self._loop, self._trace = listening, loop, trace
        self._operations: dict[str, Callable[[Request], Awaitable[Request]]] = {
            "arm": self._arm,
            "changed": self._changed,
            "release": self._release,
            "trace": self._trace_packet,
            "status": self._status,
        }

    async def run(self) -> None:
        """Serve until cancelled."""
        server = await asyncio.start_unix_server(self._serve, sock=self._listening, limit=MAX_REQUEST_BYTES)
        async with server:
            await server.serve_forever()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = await reader.readline()
            if not line:  # somebody only looked whether an agent listens
                return
            answer = await self._answer(line)
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        except (ConnectionError, asyncio.LimitOverrunError, ValueError) as error:
            log.warning("control request failed", reason=str(error))
        finally:
            writer.close()

    async def _answer(self, line: bytes) -> Request:
        try:
            request = json.loads(line)
            operation = self._operations[request["op"]]
        except (ValueError, KeyError, TypeError):
            return {"ok": False, "error": f"not a request; known operations: {', '.join(self._operations)}"}
        try:
            async with asyncio.timeout(BEGIN_DEADLINE_S):
                await self._loop.begun.wait()
            return {"ok": True, **await operation(request)}
        except TimeoutError:
            reason = f"the agent of {self._loop.config.server} is still starting"
        except GuestUnknown as error:
            reason = f"no guest {error} on {self._loop.config.server}"
        except KeyError as error:
            reason = f"the request lacks {error}"
        except (ArmingRefused, ValueError) as error:
            reason = str(error)
        except OSError as error:
            log.exception("request failed", operation=request["op"])
            reason = f"{request['op']} on {self._loop.config.server} failed: {error}"
        return {"ok": False, "error": reason}

    async def _arm(self, request: Request) -> Request:
        guest = self._loop.announce(str(request["xml"]))
        await self._loop.arm_guest(guest)
        return {"guest": guest.name, "ports": [vnic.port for vnic in guest.vnics]}

    async def _changed(self, request: Request) -> Request:
        self._loop.look_again()
        return {}

    async def _release(self, request: Request) -> Request:
        who = str(request.get("who") or "unknown")
        vnics = self._loop.release(str(request["guest"]), bool(request.get("undo")), who)
        return {"vnics": vnics}

    async def _trace_packet(self, request: Request) -> Request:
        """``packet`` is a frame in hex, ``direction`` egress or ingress (relative to the guest)."""
        entries = self._loop.ports_of(str(request["guest"]))
        if not entries:
            raise GuestUnknown(str(request["guest"]))
        frame, direction = bytes.fromhex(request["packet"]), str(request.get("direction", "egress"))
        lines = []
        for entry in entries:
            lines.append(f"{entry.port.name} ({entry.vnic.mac}) on {self._loop.config.server}:")
            lines += [f"  {line}" for line in self._trace(entry.port.ifindex, direction, frame)]
        return {"lines": lines}

    async def _status(self, request: Request) -> Request:
        accepted = self._loop.session.accepted
        return {
            "server": self._loop.config.server,
            "generation": accepted.intent.generation if accepted else None,
            "term": accepted.term if accepted else None,
            "ports": [entry.port.name for entry in self._loop.ports_of_all()],
        }
