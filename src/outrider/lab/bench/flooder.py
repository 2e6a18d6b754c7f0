"""Sends frames as fast as it can, from the moment there is a link: the guest that does not wait to be looked after.

It runs in an outpost of its own. Frames are broadcast, of an Ethernet type that nothing else here uses (IEEE 802's
"local experimental"), and numbered.
"""

import contextlib
import socket
import struct
import threading

ETHERTYPE = 0x88B5
_BROADCAST = b"\xff" * 6
_NUMBER = struct.Struct("!Q")
_LENGTH = 60


class Flooder:
    """Floods by ``eth0``. A send that the device refuses (no link yet) is tried again at once."""

    def __init__(self, mac: str) -> None:
        self._head = _BROADCAST + bytes.fromhex(mac.replace(":", "")) + struct.pack("!H", ETHERTYPE)
        self._end = threading.Event()
        self._sent = 0
        self._thread = threading.Thread(target=self._flood, name="flood")

    def begin(self) -> None:
        """Flood until ``stop``; returns at once."""
        self._thread.start()

    def stop(self) -> int:
        """End the flood; returns how many frames the device took."""
        self._end.set()
        self._thread.join()
        return self._sent

    def _flood(self) -> None:
        padding = bytes(_LENGTH - len(self._head) - _NUMBER.size)
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
            wire.bind(("eth0", 0))
            while not self._end.is_set():
                with contextlib.suppress(OSError):
                    wire.send(self._head + _NUMBER.pack(self._sent) + padding)
                    self._sent += 1
