"""What the controller remembers over its own death: its term and its ledger.

A **term** is one controller's time in charge. Taking over writes a new term; every later write compares the term's
key, so that a controller that was deposed without noticing is refused (DESIGN I5), and agents refuse what it says.
"""

from outrider.manifests.codec import CodecError, decode_json, encode_json
from outrider.planning.ledger import Ledger
from outrider.store.contract import Put, Store, StoreError, unchanged_since

TERM = "/outrider/term"
LEDGER = "/outrider/ledger"


class Deposed(StoreError):
    """Another controller has taken over; this one must stop."""


class ControllerMemory:
    """The term and ledger in ``store``; ``take_over`` comes first."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._fence = 0
        self.term = 0

    async def take_over(self) -> Ledger:
        """Begin a new term; returns the ledger that the former ones left. Raises ``StoreError``."""
        while True:
            record = await self._store.get(TERM)
            term = int(record.value) + 1 if record else 1
            was = record.mod_revision if record else 0
            outcome = await self._store.transact((unchanged_since(TERM, was),), (Put(TERM, str(term).encode()),))
            if outcome.succeeded:
                self.term, self._fence = term, outcome.revision
                return await self._read()

    async def save(self, ledger: Ledger) -> None:
        """Remember ``ledger``, before anything it promises is told to anyone. Raises ``Deposed``."""
        outcome = await self._store.transact((unchanged_since(TERM, self._fence),), (Put(LEDGER, encode_json(ledger)),))
        if not outcome.succeeded:
            raise Deposed(f"another controller took over from term {self.term}")

    async def _read(self) -> Ledger:
        record = await self._store.get(LEDGER)
        if record is None:
            return Ledger()
        try:
            return decode_json(Ledger, record.value)
        except CodecError as error:
            raise StoreError(f"the ledger in the store cannot be read: {error}") from error
