"""Labels given to a guest through Outrider, beside those its hypervisor knows.

A guest is not declared by users: it is found on a server. What they can declare is which labels it shall have, for
hosts where editing a domain's metadata is not theirs to do.
"""

import re
from dataclasses import dataclass, field

from outrider.domain.labels import Labels

_UUID = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}")
_GUEST_NAME = re.compile(r"[^\s/\x00-\x1f\x7f]([^/\x00-\x1f\x7f]{0,253}[^\s/\x00-\x1f\x7f])?")

GUEST_RULE = "1 to 255 printable characters without '/' (libvirt's rule), not beginning or ending with a space"


def is_uuid(text: str) -> bool:
    """True when ``text`` is a UUID as libvirt writes it (lower case, with dashes)."""
    return _UUID.fullmatch(text) is not None


def check_guest(text: str) -> str:
    """Return ``text`` when it can be a guest's name or UUID; raise ``ValueError`` saying what is allowed."""
    if not _GUEST_NAME.fullmatch(text):
        raise ValueError(f"{text!r} is not a guest's name: {GUEST_RULE}")
    return text


@dataclass(frozen=True, slots=True)
class GuestLabels:
    """``labels`` for the guest whose UUID or name is ``guest``."""

    guest: str
    labels: Labels = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name under which this object is declared."""
        return self.guest
