"""Several hypervisors of one server as one: libvirt's guests and the lab's containers side by side."""

from collections.abc import Callable, Sequence
from typing import Protocol

from outrider.domain.observation import GuestObservation


class Member(Protocol):
    """What each of them must do: the agent's ``Hypervisor``, and know its own descriptions."""

    async def start(self, on_change: Callable[[], None]) -> None: ...

    async def stop(self) -> None: ...

    @property
    def has_looked(self) -> bool: ...

    def snapshot(self) -> Sequence[GuestObservation]: ...

    def understands(self, description: str) -> bool: ...

    def announce(self, description: str) -> GuestObservation: ...


class CombinedHypervisor:
    """Satisfies the agent's ``Hypervisor`` protocol with all ``members``."""

    def __init__(self, members: Sequence[Member]) -> None:
        self._members = members

    async def start(self, on_change: Callable[[], None]) -> None:
        for member in self._members:
            await member.start(on_change)

    async def stop(self) -> None:
        for member in self._members:
            await member.stop()

    @property
    def has_looked(self) -> bool:
        """True once every member has read all of its guests."""
        return all(member.has_looked for member in self._members)

    def snapshot(self) -> Sequence[GuestObservation]:
        return [guest for member in self._members for guest in member.snapshot()]

    def announce(self, description: str) -> GuestObservation:
        """Hand a description to the member it is for. Raises ``ValueError`` when it is for none, or not understood."""
        for member in self._members:
            if member.understands(description):
                return member.announce(description)
        raise ValueError("the guest's description is of a kind that no hypervisor here understands")
