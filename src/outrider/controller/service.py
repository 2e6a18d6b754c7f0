"""The controller behind the API's protocol (``outrider.api.state.ApiState``)."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict

from outrider.controller.explain import explain_guest
from outrider.controller.loop import ControllerLoop
from outrider.controller.views import Row, rows_of
from outrider.store.declared import DeclaredObjects


class ControllerService:
    """Answers from what ``loop`` knows now."""

    def __init__(self, loop: ControllerLoop, declared: DeclaredObjects) -> None:
        self._loop = loop
        self.declared = declared

    async def rows(self, kind: str) -> Sequence[Row]:
        """The rows of one kind."""
        return rows_of(kind, self._loop.cluster())

    async def explain(self, guest: str) -> Sequence[str]:
        """Why the packets of ``guest`` go the way they go."""
        return explain_guest(self._loop.cluster(), guest)

    async def events(self, follow: bool) -> AsyncIterator[Row]:
        """What is kept and, with ``follow``, what comes."""
        if not follow:
            for event in self._loop.events.all():
                yield asdict(event)
            return
        async for event in self._loop.events.follow():
            yield asdict(event)

    async def intent_lines(self, server: str, instance: str) -> AsyncIterator[bytes]:
        """The lines owed to an agent."""
        async for line in self._loop.intent_lines(server, instance):
            yield line

    async def take_report(self, server: str, body: bytes) -> None:
        """Take in an agent's report. Raises ``BadMessage``, a ``ValueError``."""
        await self._loop.take_report(server, body)
