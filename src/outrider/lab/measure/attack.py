"""The attack that must never arrive, tried all the time, and beside each attempt a harmless request that must succeed.

An attempt is an HTTP request whose URL an engine's rule stops. It counts only when its connection was made, its bytes
were sent and the harmless request of the same moment was answered: an attack that fails because nothing works at all
proves nothing. Whether an attempt was blocked is said twice: no answer came, and the capture saw none of its bytes
given to any guest's port.

Run as ``python -m outrider.lab.measure.attack`` by ``SideProcess``.
"""

import socket
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from outrider.lab.measure.packetid import Run
from outrider.lab.measure.sideprocess import Heard, SideProcess, Signals, say, serve
from outrider.lab.netns_socket import open_socket_in

MODULE = "outrider.lab.measure.attack"
HTTP_PORT = 80
_ANSWER_WITHIN_S = 1.0
_MOST_ATTEMPTS = 2000


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attack and the harmless request beside it. ``at``: when the attack's bytes were sent (Unix seconds)."""

    number: int
    guest: str
    at: float
    sent: bool
    answered: bool
    harmless_answered: bool

    @property
    def counts(self) -> bool:
        """True when its failing means that something stopped it."""
        return self.sent and self.harmless_answered


@dataclass(frozen=True, slots=True)
class AttackAccount:
    """A phase's attempts: how many counted, how many were answered or seen at a guest's port."""

    attempts: int = 0
    passed: int = 0

    @property
    def blocked(self) -> bool:
        """True when it was really tried and never passed."""
        return self.attempts > 0 and self.passed == 0


def account_attacks(attempts: Iterable[Attempt], delivered: frozenset[int]) -> AttackAccount:
    """What became of the attempts, with the numbers of those whose bytes were ``delivered`` to a guest's port."""
    tried = list(attempts)
    return AttackAccount(
        attempts=sum(1 for attempt in tried if attempt.counts),
        passed=sum(1 for attempt in tried if attempt.answered or attempt.number in delivered),
    )


class Attacker:
    """Attacks guests (name → IPv4 address) in turn from the network namespace of process ``pid``.

    One attempt on each guest every ``interval_s``; ``on_attempt`` hears of each once it is over.
    """

    def __init__(
        self,
        run: Run,
        pid: int,
        guests: dict[str, str],
        path: str,
        interval_s: float = 0.5,
        on_attempt: Heard | None = None,
    ) -> None:
        order = {"token": run.token.hex(), "pid": pid, "guests": guests, "path": path, "interval_s": interval_s}
        self._process = SideProcess(MODULE, order, on_attempt)
        self._process.wait_ready()

    def stop(self) -> list[Attempt]:
        """End it and return every attempt, in order of number."""
        return [Attempt(**row) for row in self._process.stop()]

    def kill(self) -> None:
        """End it at once, keeping nothing."""
        self._process.kill()


@dataclass(frozen=True, slots=True)
class _Exchange:
    sent_at: float | None
    answered: bool


def attack(order: dict[str, Any], signals: Signals) -> list[dict[str, Any]]:
    """Attack in turn until told to end; the attempts as rows."""
    run = Run(bytes.fromhex(order["token"]))
    attempts: list[Attempt] = []
    running: list[threading.Thread] = []
    say({"ready": True})
    number = 0
    due = time.monotonic()
    while not signals.is_over() and number < _MOST_ATTEMPTS:
        for guest, address in order["guests"].items():
            number += 1
            url = f"{order['path']}?{run.attack_prefix.decode()}{number:06d}"
            arguments = (order["pid"], guest, address, url, number, attempts)
            thread = threading.Thread(target=_attempt, args=arguments)
            thread.start()
            running.append(thread)
        due += order["interval_s"]
        while not signals.is_over() and time.monotonic() < due:
            time.sleep(0.02)
    for thread in running:
        thread.join()
    return [asdict(attempt) for attempt in sorted(attempts, key=lambda one: one.number)]


def _attempt(pid: int, guest: str, address: str, url: str, number: int, attempts: list[Attempt]) -> None:
    began = time.time()
    harmless: list[_Exchange] = []
    beside = threading.Thread(target=lambda: harmless.append(_get(pid, address, "/")))
    beside.start()
    attacked = _get(pid, address, url)
    beside.join()
    sent = attacked.sent_at is not None
    made = Attempt(number, guest, attacked.sent_at or began, sent, attacked.answered, harmless[0].answered)
    attempts.append(made)
    say({"attempt": asdict(made)})


def _get(pid: int, address: str, url: str) -> _Exchange:
    """GET ``url``; answered means that any byte came back."""
    sent_at: float | None = None
    try:
        with open_socket_in(pid, socket.AF_INET, socket.SOCK_STREAM) as connection:
            connection.settimeout(_ANSWER_WITHIN_S)
            connection.connect((address, HTTP_PORT))
            connection.sendall(f"GET {url} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode())
            sent_at = time.time()
            return _Exchange(sent_at, bool(connection.recv(64)))
    except OSError:
        # Refused, reset, timed out: all of them are "no answer", and whether it was sent is known.
        return _Exchange(sent_at, False)


if __name__ == "__main__":
    sys.exit(serve(attack))
