"""Answers that do not end by themselves: events followed, intents watched.

When the process stops, these are still open. They are then ended as HTTP ends an answer, so that the other side sees
an end and not a broken connection, and the server's log no fault.
"""

import asyncio

from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

NDJSON = "application/x-ndjson"


class LineStream(StreamingResponse):
    """JSON lines until the iterator ends, the client leaves or the server stops."""

    media_type = NDJSON

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the stream; a cancellation means that the server stops, and ends it."""
        try:
            await super().__call__(scope, receive, send)
        except asyncio.CancelledError:
            # The task is at its end either way; what is left to do is the empty chunk that closes the answer.
            await send({"type": "http.response.body", "body": b"", "more_body": False})
