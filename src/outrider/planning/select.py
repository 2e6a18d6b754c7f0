"""Which policy a guest falls under: one, chosen the same way every time."""

from collections.abc import Iterable

from outrider.domain.labels import Labels
from outrider.domain.policy import SecurityPolicy


def select_policy(policies: Iterable[SecurityPolicy], labels: Labels) -> SecurityPolicy | None:
    """The policy with the highest priority among those that select ``labels``; of equals the first by name."""
    selecting = [policy for policy in policies if policy.selector.matches(labels)]
    return min(selecting, key=lambda policy: (-policy.priority, policy.name), default=None)
