"""What a name may look like, so that it fits file names, labels and messages alike."""

import re

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")

NAME_RULE = "1 to 63 lower-case letters, digits, '-' or '.', beginning and ending with a letter or digit"


def check_name(name: str) -> str:
    """Return ``name`` when it is a DNS-1123 style name; raise ``ValueError`` saying what is allowed."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a name: {NAME_RULE}")
    return name


def check_mac(mac: str) -> str:
    """Return ``mac`` in lower case when it is a unicast Ethernet address; raise ``ValueError`` otherwise."""
    mac = mac.lower()
    if not _MAC.fullmatch(mac):
        raise ValueError(f"{mac!r} is not an Ethernet address: six pairs of hex digits joined by ':'")
    if int(mac[:2], 16) & 1:
        raise ValueError(f"{mac!r} is a group address: a vnic needs a unicast one")
    return mac
