"""Rule sets: the text an engine inspects by, known everywhere by its digest."""

import hashlib
from dataclasses import dataclass


def digest_of(text: str) -> str:
    """The first 16 hex digits of the SHA-256 of ``text``: enough to tell rule sets apart, short enough to read."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class RuleSet:
    """Rules for the engines of one kind (``suricata``), as one text."""

    name: str
    text: str
    engine: str = "suricata"

    @property
    def digest(self) -> str:
        """What appliances report to say which rules they run."""
        return digest_of(self.text)
