"""The session with the controller, over HTTP: one long answer of intents, one short request per report.

A connection that fails is made again after a short, jittered wait; nothing else in the agent waits for it.
"""

import asyncio
import random
import time
import uuid

import aiohttp
import structlog

from outrider.agent.files import AgentFiles
from outrider.agent.loop import AgentLoop
from outrider.session.agent import AgentSession
from outrider.session.messages import MAX_MESSAGE_BYTES, BadMessage

RETRY_S = (0.05, 2.0)

log = structlog.get_logger("agent")


def new_instance() -> str:
    """What tells this run of the agent from every other."""
    return uuid.uuid4().hex


class ControllerConnection:
    """Keeps ``loop`` and the controller at ``socket`` (a path) in step."""

    def __init__(self, socket: str, instance: str, loop: AgentLoop, session: AgentSession, files: AgentFiles) -> None:
        self._socket, self._instance = socket, instance
        self._loop, self._session, self._files = loop, session, files
        self._watching = asyncio.Event()

    async def run(self) -> None:
        """Connect, and connect again, until cancelled."""
        wait = RETRY_S[0]
        while True:
            began = time.monotonic()
            try:
                connector = aiohttp.UnixConnector(path=self._socket)
                async with aiohttp.ClientSession(
                    "http://controller", connector=connector, read_bufsize=MAX_MESSAGE_BYTES
                ) as http:
                    await self._serve(http)
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                log.info("controller away", reason=str(error) or type(error).__name__)
            wait = RETRY_S[0] if time.monotonic() - began > RETRY_S[1] else min(wait * 2, RETRY_S[1])
            await asyncio.sleep(wait * random.uniform(0.5, 1.0))

    async def _serve(self, http: aiohttp.ClientSession) -> None:
        self._watching.clear()
        watch, report = asyncio.ensure_future(self._watch(http)), asyncio.ensure_future(self._report(http))
        try:
            done, _ = await asyncio.wait({watch, report}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (watch, report):
                task.cancel()
            await asyncio.gather(watch, report, return_exceptions=True)

    async def _watch(self, http: aiohttp.ClientSession) -> None:
        url = f"/v1/agents/{self._session.server}/intents"
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
        async with http.get(url, params={"instance": self._instance}, timeout=timeout) as answer:
            answer.raise_for_status()
            log.info("controller connected")
            self._session.connected()
            self._watching.set()
            async for line in answer.content:
                if line.strip():
                    self._take(line)

    def _take(self, line: bytes) -> None:
        try:
            if not self._session.take_line(line):
                return
        except BadMessage as error:
            log.warning("intent refused", reason=str(error))
            return
        accepted = self._session.accepted
        if accepted is not None:
            self._files.save_intent(accepted)
        self._loop.look_again()

    async def _report(self, http: aiohttp.ClientSession) -> None:
        await self._watching.wait()
        url = f"/v1/agents/{self._session.server}/reports"
        while True:
            self._loop.reported.clear()
            observation = self._loop.observation
            body = self._session.owed(observation, time.monotonic()) if observation else None
            if body is not None:
                async with http.post(url, data=body, timeout=aiohttp.ClientTimeout(total=10)) as answer:
                    if answer.status >= 400:
                        log.warning("report refused", status=answer.status, reason=(await answer.text())[:300])
                        return
            await self._loop.reported.wait()
