"""The agent's end of a session: which intents it accepts, which reports it owes."""

from dataclasses import replace

from outrider.domain.intent import ServerIntent
from outrider.domain.observation import ServerObservation, WireCounters
from outrider.session.messages import BadMessage, IntentMessage, ReportMessage, decode_intent, encode

COUNTERS_EVERY_S = 1.0  # news is reported at once; numbers that only grew, this often


class AgentSession:
    """``accepted`` begins as the intent kept on disk, so that an agent without a controller goes on with it."""

    def __init__(self, server: str, instance: str, accepted: IntentMessage | None = None) -> None:
        self.server = server
        self._instance = instance
        self._sequence = 0
        self._accepted = accepted
        self._reported: ServerObservation | None = None
        self._reported_at = float("-inf")

    @property
    def accepted(self) -> IntentMessage | None:
        """The newest intent taken in, None when there never was one."""
        return self._accepted

    @property
    def intent(self) -> ServerIntent:
        """What to do now; without any intent, nothing (and every port holds)."""
        return self._accepted.intent if self._accepted else ServerIntent(self.server)

    def take_line(self, line: bytes) -> bool:
        """Take in one line from the controller. True when it is a newer intent than the one in force.

        Raises ``BadMessage`` for a line that is no intent, or an intent for another server.
        """
        message = decode_intent(line)
        if message.intent.server != self.server:
            raise BadMessage(f"an intent for {message.intent.server}, but this is {self.server}")
        if self._accepted is not None and _rank(message) <= _rank(self._accepted):
            return False
        self._accepted = message
        return True

    def connected(self) -> None:
        """A new connection: the other end knows nothing, so everything is owed again."""
        self._reported = None

    def owed(self, observation: ServerObservation, now: float) -> bytes | None:
        """The report to send for ``observation``, or None when the controller knows it well enough.

        The report counts as sent: call ``connected`` when it could not be.
        """
        news = self._reported is None or _without_counters(observation) != _without_counters(self._reported)
        if not news and now - self._reported_at < COUNTERS_EVERY_S:
            return None
        self._sequence += 1
        self._reported, self._reported_at = observation, now
        return encode(ReportMessage(self._instance, self._sequence, observation))


def _rank(message: IntentMessage) -> tuple[int, int]:
    return message.term, message.intent.generation


def _without_counters(observation: ServerObservation) -> ServerObservation:
    return replace(
        observation,
        wires=tuple(replace(wire, counters=WireCounters()) for wire in observation.wires),
        appliances=tuple(replace(appliance, counters={}) for appliance in observation.appliances),
        drops={},
    )
