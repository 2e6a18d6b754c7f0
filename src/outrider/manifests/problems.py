"""What is wrong with a manifest, said so that it can be mended without looking anything up.

Each problem names the file, the document in it, the field, and what is allowed there. All problems of a file are
reported at once: nobody likes to mend one line and be told of the next.
"""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a document was read: ``source`` is a file name (``-`` is standard input), ``number`` counts from 1."""

    source: str
    number: int

    def __str__(self) -> str:
        return f"{self.source}: document {self.number}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One sentence about one field. ``field`` is a path such as ``spec.controls[0]``; empty for the whole document."""

    origin: str
    field: str
    message: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.origin, self.field, self.message) if part)


class ManifestError(ValueError):
    """Manifests that cannot be used; ``problems`` lists every reason, ``str`` has one line for each."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def allowed_text(given: object, allowed: Iterable[str]) -> str:
    """``did you mean 'a'? allowed: a, b``, the question only where ``given`` is close to one of ``allowed``."""
    names = list(allowed)
    listing = f"allowed: {', '.join(names)}" if names else "nothing is allowed here"
    close = difflib.get_close_matches(str(given), names, n=1)
    return f"did you mean {close[0]!r}? {listing}" if close else listing
