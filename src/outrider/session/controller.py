"""The controller's end of a session with one server's agent."""

from outrider.domain.intent import ServerIntent
from outrider.domain.observation import ServerObservation
from outrider.session.messages import BadMessage, IntentMessage, decode_report, encode


class ControllerSession:
    """One server. Reports count only from the agent ``instance`` whose watch is open (None: nobody watches)."""

    def __init__(self, server: str, term: int) -> None:
        self.server = server
        self._term = term
        self.instance: str | None = None
        self._sequence = 0
        self._sent: ServerIntent | None = None

    @property
    def is_connected(self) -> bool:
        """True while an agent watches."""
        return self.instance is not None

    def connected(self, instance: str) -> None:
        """An agent began to watch. A newer watch takes the server over from an older one."""
        if instance != self.instance:
            self._sequence = 0
        self.instance = instance
        self._sent = None

    def disconnected(self, instance: str) -> None:
        """The watch of ``instance`` ended; of no meaning when another has taken over meanwhile."""
        if instance == self.instance:
            self.instance = None

    def owed(self, intent: ServerIntent) -> bytes | None:
        """The line to send for ``intent``, or None when the agent was already sent it on this watch."""
        if intent == self._sent:
            return None
        self._sent = intent
        return encode(IntentMessage(self._term, intent))

    def take_report(self, body: bytes) -> ServerObservation | None:
        """What a report says; None for one that is older than what is known.

        Raises ``BadMessage`` for a report that is not one, is for another server, or comes from an agent that is not
        the one watching.
        """
        message = decode_report(body)
        if message.observation.server != self.server:
            raise BadMessage(f"a report of {message.observation.server} sent as {self.server}")
        if message.instance != self.instance:
            raise BadMessage(f"another agent speaks for {self.server}, or this one must watch its intents first")
        if message.sequence <= self._sequence:
            return None
        self._sequence = message.sequence
        return message.observation
