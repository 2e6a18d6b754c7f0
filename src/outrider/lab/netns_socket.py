"""Opens a socket in another network namespace without leaving one's own.

``setns(2)`` moves only the calling thread, and a socket stays for life in the namespace it was made in: so a thread of
its own goes there, makes the socket, and ends.
"""

import ctypes
import os
import socket
import threading

CLONE_NEWNET = 0x4000_0000
_libc = ctypes.CDLL(None, use_errno=True)


def open_socket_in(pid: int, family: int, kind: int, protocol: int = 0) -> socket.socket:
    """A socket in the network namespace of process ``pid``. Raises ``OSError``."""
    made: list[socket.socket] = []
    failed: list[OSError] = []

    def go_and_open() -> None:
        try:
            handle = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            try:
                if _libc.setns(handle, CLONE_NEWNET) != 0:
                    code = ctypes.get_errno()
                    raise OSError(code, f"entering the network namespace of process {pid}: {os.strerror(code)}")
                made.append(socket.socket(family, kind, protocol))
            finally:
                os.close(handle)
        except OSError as error:
            failed.append(error)

    traveller = threading.Thread(target=go_and_open)
    traveller.start()
    traveller.join()
    if failed:
        raise failed[0]
    return made[0]
