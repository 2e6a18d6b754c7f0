"""tcx (kernel 6.6 and later): programs that the device itself owns.

Attached by ``BPF_PROG_ATTACH``, not by a link: a pinned link goes when bpffs is unmounted, and opens the port (tried:
RECIPES C). A plain attachment stays until the device goes or somebody detaches it.
"""

import errno
import os
import socket

from outrider.steering import syscall
from outrider.steering.attachment import PortRefused

_LOOPBACK = 1


def has_tcx() -> bool:
    """True when this kernel knows tcx."""
    try:
        syscall.query(_LOOPBACK, syscall.TCX_INGRESS)
    except OSError as error:
        if error.errno == errno.EINVAL:
            return False
        raise
    return True


class TcxHooks:
    """Programs on tcx hooks."""

    kind = "tcx"

    def check(self, ifindex: int) -> None:
        """Raises ``PortRefused`` when there is no such port."""
        require_device(ifindex)

    def programs(self, ifindex: int, is_ingress: bool) -> list[int]:
        """Ids of the programs there, in the order they run."""
        return syscall.query(ifindex, _hook(is_ingress))

    def attach_first(self, ifindex: int, is_ingress: bool, fd: int) -> None:
        """Attach ahead of all others."""
        syscall.attach(ifindex, _hook(is_ingress), fd, syscall.F_BEFORE)

    def replace(self, ifindex: int, is_ingress: bool, fd: int, former_id: int) -> None:
        """Exchange a program, which keeps its position."""
        former = syscall.program_fd(former_id)
        try:
            syscall.attach(ifindex, _hook(is_ingress), fd, syscall.F_REPLACE, former)
        finally:
            os.close(former)

    def detach(self, ifindex: int, is_ingress: bool, program_id: int) -> None:
        """Detach a program."""
        fd = syscall.program_fd(program_id)
        try:
            syscall.detach(ifindex, _hook(is_ingress), fd)
        finally:
            os.close(fd)


def require_device(ifindex: int) -> str:
    """The name of the interface; raises ``PortRefused`` when there is none."""
    try:
        return socket.if_indextoname(ifindex)
    except OSError as error:
        raise PortRefused(f"there is no interface {ifindex}") from error


def _hook(is_ingress: bool) -> int:
    return syscall.TCX_INGRESS if is_ingress else syscall.TCX_EGRESS
