"""clsact (kernels before 6.6): filters on the port's clsact qdisc, by netlink.

The kernel lets an egress filter be attached where the ``ingress`` qdisc sits, reports success, and runs it on ingress
(tried: RECIPES C). So the kind of what is there is read back, and a port that has ``ingress`` is refused.

Ours are at preference 1 for all protocols, in direct-action mode; a filter replaced under the same preference and
handle is exchanged without a gap.
"""

import errno
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from outrider.steering.attachment import PortRefused
from outrider.steering.tcx import require_device

_NEWQDISC, _DELQDISC, _GETQDISC = 36, 37, 38
_NEWTFILTER, _DELTFILTER, _GETTFILTER = 44, 45, 46
_REQUEST, _ACK, _DUMP, _CREATE, _EXCL, _REPLACE = 1, 4, 0x300, 0x400, 0x200, 0x100
_ERROR, _DONE = 2, 3
_CLSACT, _CLSACT_HANDLE = 0xFFFF_FFF1, 0xFFFF_0000
_PARENTS = {True: 0xFFFF_FFF2, False: 0xFFFF_FFF3}
_KIND, _OPTIONS = 1, 2
_BPF_FD, _BPF_NAME, _BPF_FLAGS, _BPF_ID = 6, 7, 8, 11
_DIRECT_ACTION = 1
_PREFERENCE, _HANDLE, _ALL_PROTOCOLS = 1, 1, 0x0300  # ETH_P_ALL in network order
# The filter's name tells the next agent whether the qdisc below it was made for it, and so goes with it.
_NAME, _NAME_ON_OUR_QDISC = "outrider", "outrider+clsact"
_TCMSG = struct.Struct("<BBHiIII")


@dataclass(frozen=True, slots=True)
class _Filter:
    program_id: int
    preference: int
    handle: int
    protocol: int
    name: str


class ClsactHooks:
    """Programs as filters of the clsact qdisc."""

    kind = "clsact"

    def __init__(self) -> None:
        self._created: set[int] = set()  # ports whose qdisc is ours to remove, until a filter's name says so

    def check(self, ifindex: int) -> None:
        """Make sure the port has a clsact qdisc; raises ``PortRefused`` when it has ``ingress`` instead."""
        name = require_device(ifindex)
        kind = _qdisc_kind(ifindex)
        if kind is None:
            options = _attribute(_KIND, b"clsact\0")
            try:
                _ask(_NEWQDISC, _CREATE | _EXCL, _TCMSG.pack(0, 0, 0, ifindex, _CLSACT_HANDLE, _CLSACT, 0) + options)
                self._created.add(ifindex)
            except OSError as error:
                if error.errno != errno.EEXIST:
                    raise
            kind = _qdisc_kind(ifindex)
        if kind != "clsact":
            raise PortRefused(
                f"port {name} has an {kind} qdisc (libvirt's outbound <bandwidth>, or offload), on which this kernel "
                "would run the egress program on ingress: remove it, or use a kernel with tcx (6.6 or later)"
            )

    def programs(self, ifindex: int, is_ingress: bool) -> list[int]:
        """Ids of the BPF programs there, in the order they run."""
        require_exists(ifindex)
        return [found.program_id for found in _filters(ifindex, is_ingress)]

    def attach_first(self, ifindex: int, is_ingress: bool, fd: int) -> None:
        """Attach at the first preference."""
        there = _filters(ifindex, is_ingress)
        taken = {(found.preference, found.handle) for found in there}
        handle = next(number for number in range(_HANDLE, 1 << 16) if (_PREFERENCE, number) not in taken)
        names = {found.name for found in (*there, *_filters(ifindex, not is_ingress))}
        is_our_qdisc = ifindex in self._created or _NAME_ON_OUR_QDISC in names
        name = _NAME_ON_OUR_QDISC if is_our_qdisc else _NAME
        put(ifindex, is_ingress, fd, _PREFERENCE, handle, _CREATE | _EXCL, name)
        self._created.discard(ifindex)

    def replace(self, ifindex: int, is_ingress: bool, fd: int, former_id: int) -> None:
        """Exchange a program in its place."""
        former = _find(ifindex, is_ingress, former_id)
        put(ifindex, is_ingress, fd, former.preference, former.handle, _CREATE | _REPLACE, former.name)

    def detach(self, ifindex: int, is_ingress: bool, program_id: int) -> None:
        """Delete the filter; with the last one also the qdisc, when it was made for ours."""
        found = _find(ifindex, is_ingress, program_id)
        _ask(_DELTFILTER, 0, _filter_header(ifindex, is_ingress, found.preference, found.handle) + _kind_bpf())
        if found.name == _NAME_ON_OUR_QDISC and not _has_filters(ifindex):
            _ask(_DELQDISC, 0, _TCMSG.pack(0, 0, 0, ifindex, _CLSACT_HANDLE, _CLSACT, 0))


def require_exists(ifindex: int) -> None:
    """Raises ``OSError`` ENODEV when there is no such interface."""
    try:
        socket.if_indextoname(ifindex)
    except OSError as error:
        raise OSError(errno.ENODEV, f"there is no interface {ifindex}") from error


def put(
    ifindex: int,
    is_ingress: bool,
    fd: int,
    preference: int,
    handle: int = 1,
    flags: int = _CREATE | _EXCL,
    name: str = _NAME,
) -> None:
    """Put a program on a port's clsact qdisc as a direct-action filter. Raises ``OSError``."""
    options = (
        _attribute(_BPF_FD, struct.pack("<I", fd))
        + _attribute(_BPF_NAME, name.encode() + b"\0")
        + _attribute(_BPF_FLAGS, struct.pack("<I", _DIRECT_ACTION))
    )
    header = _filter_header(ifindex, is_ingress, preference, handle)
    _ask(_NEWTFILTER, flags, header + _kind_bpf() + _attribute(_OPTIONS, options))


def _filter_header(ifindex: int, is_ingress: bool, preference: int, handle: int) -> bytes:
    return _TCMSG.pack(0, 0, 0, ifindex, handle, _PARENTS[is_ingress], preference << 16 | _ALL_PROTOCOLS)


def _kind_bpf() -> bytes:
    return _attribute(_KIND, b"bpf\0")


def _find(ifindex: int, is_ingress: bool, program_id: int) -> _Filter:
    for found in _filters(ifindex, is_ingress):
        if found.program_id == program_id:
            return found
    raise OSError(errno.ENOENT, f"program {program_id} is not on interface {ifindex}")


def _filters(ifindex: int, is_ingress: bool) -> list[_Filter]:
    found = []
    for body in _dump(_GETTFILTER, _TCMSG.pack(0, 0, 0, ifindex, 0, _PARENTS[is_ingress], 0)):
        _, _, _, _, handle, _, info = _TCMSG.unpack_from(body)
        attributes = dict(_attributes(body[_TCMSG.size :]))
        options = dict(_attributes(attributes.get(_OPTIONS, b"")))
        if attributes.get(_KIND) == b"bpf\0" and _BPF_ID in options:
            number = struct.unpack("<I", options[_BPF_ID])[0]
            name = options.get(_BPF_NAME, b"").rstrip(b"\0").decode()
            found.append(_Filter(number, info >> 16, handle, info & 0xFFFF, name))
    return found


def _has_filters(ifindex: int) -> bool:
    return any(
        _OPTIONS in dict(_attributes(body[_TCMSG.size :]))
        for parent in _PARENTS.values()
        for body in _dump(_GETTFILTER, _TCMSG.pack(0, 0, 0, ifindex, 0, parent, 0))
    )


def _qdisc_kind(ifindex: int) -> str | None:
    """The kind of qdisc under the handle that ``clsact`` and ``ingress`` share."""
    for body in _dump(_GETQDISC, _TCMSG.pack(0, 0, 0, ifindex, 0, 0, 0)):
        _, _, _, index, handle, _, _ = _TCMSG.unpack_from(body)
        if (index, handle) == (ifindex, _CLSACT_HANDLE):
            return dict(_attributes(body[_TCMSG.size :]))[_KIND].rstrip(b"\0").decode()
    return None


# -- netlink, as much as this needs (rtnetlink(7))


def _attribute(kind: int, value: bytes) -> bytes:
    length = 4 + len(value)
    return struct.pack("<HH", length, kind) + value + bytes(-length % 4)


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= 4:
        length, kind = struct.unpack_from("<HH", data)
        yield kind & 0x3FFF, data[4:length]
        data = data[(length + 3) & ~3 :]


def _ask(kind: int, flags: int, body: bytes) -> None:
    """One request, acknowledged. Raises ``OSError``."""
    for _ in _exchange(kind, _REQUEST | _ACK | flags, body):
        pass


def _dump(kind: int, body: bytes) -> list[bytes]:
    return [message for found, message in _exchange(kind, _REQUEST | _DUMP, body) if found == kind - 2]


def _exchange(kind: int, flags: int, body: bytes) -> Iterator[tuple[int, bytes]]:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        netlink.bind((0, 0))
        netlink.send(struct.pack("<IHHII", 16 + len(body), kind, flags, 1, 0) + body)
        while True:
            data = netlink.recv(1 << 18)
            while data:
                length, found = struct.unpack_from("<IH", data)
                message, data = data[16:length], data[(length + 3) & ~3 :]
                if found == _ERROR:
                    code = -struct.unpack_from("<i", message)[0]
                    if code:
                        raise OSError(code, f"tc: {errno.errorcode.get(code, code)}")
                    return
                if found == _DONE:
                    return
                yield found, message
