"""Satisfies the agent's ``Hypervisor`` protocol with libvirt, whatever libvirt happens to be doing.

Two connections: one only for events, since on a connection with a call in progress they arrive when the call returns;
one for calls, made in a thread. An event only says which guest to read again, and everything is read every few seconds
anyway. While the daemon is held (a hook, a long start) or away, what was last seen stays true here; the start hook's
announcements come in beside it, without libvirt being asked.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import libvirt
import structlog

from outrider.domain.guest import GuestState
from outrider.domain.labels import Labels
from outrider.domain.observation import GuestObservation
from outrider.hypervisors.announcements import Announcements
from outrider.hypervisors.description import LABELS_NAMESPACE, LABELS_PREFIX, labels_element, parse_domain
from outrider.hypervisors.libvirt_calls import CallThread, run_events
from outrider.hypervisors.userspace_switches import UserspaceSwitches
from outrider.hypervisors.watching import watch

READ_ALL_EVERY_S = 5.0
FIRST_READ_WITHIN_S = 3.0
RECONNECT_AFTER_S = 0.5
_KEEP_ALIVE_S, _KEEP_ALIVE_MISSES = 5, 3
_EVENTS = (
    libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE,
    libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_ADDED,
    libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED,
    libvirt.VIR_DOMAIN_EVENT_ID_METADATA_CHANGE,
)
_STATES = {
    libvirt.VIR_DOMAIN_RUNNING: GuestState.RUNNING,
    libvirt.VIR_DOMAIN_BLOCKED: GuestState.RUNNING,
    libvirt.VIR_DOMAIN_PAUSED: GuestState.PAUSED,
    libvirt.VIR_DOMAIN_SHUTDOWN: GuestState.RUNNING,
    libvirt.VIR_DOMAIN_SHUTOFF: GuestState.DEFINED,
    libvirt.VIR_DOMAIN_CRASHED: GuestState.STOPPED,
    libvirt.VIR_DOMAIN_PMSUSPENDED: GuestState.PAUSED,
}
_HERE = (GuestState.ARRIVING, GuestState.RUNNING, GuestState.PAUSED)

log = structlog.get_logger("hypervisors")

Guests = dict[str, GuestObservation]


class LibvirtHypervisor:
    """The guests of the libvirt at ``uri``. ``problem`` says why libvirt cannot be asked now, None while it can.

    ``has_looked`` is true once all guests have been read.
    """

    def __init__(self, uri: str = "qemu:///system") -> None:
        self.uri = uri
        self.problem: str | None = "libvirt has not been asked yet"
        self.has_looked = False
        self._guests: Guests = {}
        self._announced = Announcements()
        self._switches = UserspaceSwitches()
        self._calls: CallThread | None = None
        self._reading: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._on_change: Callable[[], None] = lambda: None
        self._again = asyncio.Event()
        self._changed: set[str] = set()
        # touched by the call thread only
        self._events_from: Any = None
        self._host: Any = None
        self._closed = False

    async def start(self, on_change: Callable[[], None]) -> None:
        """Begin to watch; returns after the first reading, or a few seconds when libvirt is not there."""
        run_events()
        self._on_change, self._loop = on_change, asyncio.get_running_loop()
        self._calls = CallThread(f"libvirt calls to {self.uri}")
        first = asyncio.Event()
        self._reading = watch(self._keep_reading(first), "libvirt")
        try:
            async with asyncio.timeout(FIRST_READ_WITHIN_S):
                await first.wait()
        except TimeoutError:
            log.warning("libvirt does not answer", uri=self.uri, reason=self.problem)

    async def stop(self) -> None:
        if self._reading and self._calls:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
            self._calls.stop()
        self._reading = self._calls = None

    def snapshot(self) -> Sequence[GuestObservation]:
        """The guests as last read, with those announced that libvirt does not yet speak of."""
        announced = {guest.uuid: guest for guest in self._announced.believed()}
        return list({**self._guests, **announced}.values())

    def understands(self, description: str) -> bool:
        """True when a description is one of a libvirt domain."""
        return description.lstrip().startswith("<")

    def announce(self, description: str) -> GuestObservation:
        """Take in a domain's XML from the start hook. Raises ``ValueError``. Never asks libvirt."""
        guest = parse_domain(description, GuestState.ARRIVING, self._switches.refusal)
        known = self._guests.get(guest.uuid)
        if known is None or known.state not in _HERE:
            self._announced.add(guest)
        return guest

    async def set_labels(self, uuid: str, labels: Labels) -> None:
        """Write a guest's labels into its domain, replacing all it had.

        Raises ``ValueError`` when libvirt does not know the guest or cannot be asked.
        """
        if self._calls is None:
            raise ValueError("libvirt is not being watched")
        try:
            await self._calls.ask(lambda: self._write_labels(uuid, labels))
        except libvirt.libvirtError as error:
            raise ValueError(f"labels of guest {uuid}: {error.get_error_message()}") from None
        self._look_again(uuid)

    # ---- in the event loop ----

    def _look_again(self, uuid: str | None) -> None:
        if uuid:
            self._changed.add(uuid)
        self._again.set()

    async def _keep_reading(self, first: asyncio.Event) -> None:
        everything = True
        while True:
            self._again.clear()
            changed, self._changed = self._changed, set()
            everything = await self._read(None if everything else changed)
            if self.problem is None:
                self.has_looked = True
                first.set()
            try:
                async with asyncio.timeout(RECONNECT_AFTER_S if self.problem else READ_ALL_EVERY_S):
                    await self._again.wait()
            except TimeoutError:
                everything = True

    async def _read(self, changed: Iterable[str] | None) -> bool:
        """Read the ``changed`` guests, or all; True when all must be read the next time."""
        assert self._calls is not None
        try:
            found, whole = await self._calls.ask(lambda: self._ask_libvirt(changed))
        except libvirt.libvirtError as error:
            self._lost(str(error.get_error_message() or error))
            return True
        if self.problem:
            log.info("libvirt answers", uri=self.uri)
        self.problem = None
        self._take_in(found, whole)
        return False

    def _lost(self, reason: str) -> None:
        if self.problem != reason:
            log.warning("libvirt cannot be asked: what was last seen stays", uri=self.uri, reason=reason)
        self.problem = reason

    def _take_in(self, found: Mapping[str, GuestObservation | None], whole: bool) -> None:
        before = self._guests
        kept = {} if whole else dict(before)
        for uuid, guest in found.items():
            kept.pop(uuid, None)
            if guest:
                kept[uuid] = guest
        self._guests = kept
        self._announced.forget([uuid for uuid, guest in kept.items() if guest.state in _HERE])
        if kept != before:
            self._on_change()

    # ---- in the call thread ----

    def _ask_libvirt(self, changed: Iterable[str] | None) -> tuple[dict[str, GuestObservation | None], bool]:
        """The guests asked for (None where libvirt knows it no more), and whether these are all there are."""
        fresh = self._connect()
        if changed is not None and not fresh:
            return {uuid: self._read_guest(uuid) for uuid in changed}, False
        self._switches.refresh()
        found: dict[str, GuestObservation | None] = {}
        for domain in self._host.listAllDomains():
            guest = self._describe(domain)
            if guest:
                found[guest.uuid] = guest
        return found, True

    def _connect(self) -> bool:
        """Make sure of both connections; True when they are new, and anything may have been missed."""
        if self._host is not None and not self._closed and self._host.isAlive():
            return False
        self._disconnect()
        self._events_from = libvirt.openReadOnly(self.uri)
        self._closed = False
        self._events_from.registerCloseCallback(self._connection_closed, None)
        self._events_from.setKeepAlive(_KEEP_ALIVE_S, _KEEP_ALIVE_MISSES)
        for event in _EVENTS:
            self._events_from.domainEventRegisterAny(None, event, self._heard, None)
        self._host = libvirt.open(self.uri)
        self._host.setKeepAlive(_KEEP_ALIVE_S, _KEEP_ALIVE_MISSES)
        return True

    def _disconnect(self) -> None:
        for connection in (self._events_from, self._host):
            if connection is not None:
                try:
                    connection.close()
                except libvirt.libvirtError as error:
                    log.debug("closing a broken connection", reason=str(error))
        self._events_from = self._host = None

    def _read_guest(self, uuid: str) -> GuestObservation | None:
        try:
            return self._describe(self._host.lookupByUUIDString(uuid))
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                return None
            raise

    def _describe(self, domain: Any) -> GuestObservation | None:
        """What libvirt says of one domain; None when it went away meanwhile or cannot be understood."""
        try:
            state = self._state_of(domain)
            return parse_domain(domain.XMLDesc(0), state, self._switches.refusal)
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                return None
            raise
        except ValueError as error:
            log.warning("guest left out", uuid=domain.UUIDString(), reason=str(error))
            return None

    def _state_of(self, domain: Any) -> GuestState:
        state, reason = domain.state()
        if state == libvirt.VIR_DOMAIN_PAUSED:
            if reason == libvirt.VIR_DOMAIN_PAUSED_STARTING_UP:
                return GuestState.ARRIVING
            if reason == libvirt.VIR_DOMAIN_PAUSED_MIGRATION and _is_incoming(domain):
                return GuestState.ARRIVING
        return _STATES.get(state, GuestState.PAUSED)

    def _write_labels(self, uuid: str, labels: Labels) -> None:
        self._connect()
        domain = self._host.lookupByUUIDString(uuid)
        flags = libvirt.VIR_DOMAIN_AFFECT_LIVE if domain.isActive() else 0
        if domain.isPersistent():
            flags |= libvirt.VIR_DOMAIN_AFFECT_CONFIG
        element, prefix = labels_element(labels), LABELS_PREFIX
        domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, element, prefix, LABELS_NAMESPACE, flags)

    # ---- in libvirt's event thread ----

    def _heard(self, _connection: Any, domain: Any, *_details: Any) -> None:
        self._tell_loop(domain.UUIDString())

    def _connection_closed(self, _connection: Any, _reason: int, _opaque: Any) -> None:
        self._closed = True
        self._tell_loop(None)

    def _tell_loop(self, uuid: str | None) -> None:
        if self._loop and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._look_again, uuid)


def _is_incoming(domain: Any) -> bool:
    """True on the target of a migration whose memory is still being copied.

    Only the source has statistics to give: on the target libvirt says so, or names the job as an incoming one.
    """
    try:
        job = domain.jobStats()
    except libvirt.libvirtError as error:
        return error.get_error_code() in (libvirt.VIR_ERR_OPERATION_UNSUPPORTED, libvirt.VIR_ERR_OPERATION_INVALID)
    return bool(job.get("operation") == libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_IN)
