"""Questions to a lab: who reaches whom?"""

import time

from outrider.lab.lab import Lab


def reaches(lab: Lab, sender: str, address: str, within_s: float = 3.0) -> bool:
    """True when one ping is answered before the time is over."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if lab.exec(sender, ["busybox", "ping", "-c", "1", "-W", "1", address]).returncode == 0:
            return True
    return False


def unanswered(ping_output: str) -> int:
    """How many pings of a finished ``busybox ping`` got no answer."""
    (line,) = [line for line in ping_output.splitlines() if "packets transmitted" in line]
    sent, received = (int(part.split()[0]) for part in line.split(", ")[:2])
    return sent - received
