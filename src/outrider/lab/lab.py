"""A lab, from outside: bring it up, put guests and clients into it, move them, run things in them, take it down.

A ``Lab`` object holds no state: each call reads the lab's record, so that commands typed one after another, tests and
the demo all see the same lab. Calls block; use a thread where that matters. All raise ``LabError`` with one sentence.
"""

import os
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from outrider.domain.labels import check_label_key, check_label_value
from outrider.lab import container, fabric, machine
from outrider.lab.images import ImageSource, own_guest_image
from outrider.lab.libvirt_daemon import configure_libvirt, remember_capabilities, start_libvirt
from outrider.lab.paths import RUN_ROOT, LabError, LabPaths, check_short_name
from outrider.lab.processes import Starting, inside, is_alive, marked_environment, run_inside
from outrider.lab.record import (
    ClientRecord,
    GuestRecord,
    LabRecord,
    ProcessRecord,
    ServerRecord,
    edit_record,
    read_record,
    write_record,
)
from outrider.lab.remains import left_behind_of, sweep
from outrider.lab.server import make_server, start_agent, start_controller

CONTAINER = "container"
VM = "vm"
DEFAULT_CACHE = Path("/var/cache/outrider")


def left_behind(name: str, run_root: Path = RUN_ROOT) -> list[str]:
    """One line for each process, mount or file that lab ``name`` left on this machine."""
    return left_behind_of(LabPaths.of(name, run_root))


def _server_names(servers: int | Sequence[str]) -> list[str]:
    names = [f"s{number}" for number in range(1, servers + 1)] if isinstance(servers, int) else list(servers)
    if not 1 <= len(names) <= fabric.MOST_SERVERS:
        raise LabError(f"a lab has between 1 and {fabric.MOST_SERVERS} servers, not {len(names)}")
    if len(set(names)) != len(names):
        raise LabError("two servers of a lab cannot have one name")
    return [check_short_name(name, "server name") for name in names]


def _mac_of(name: str, address: str) -> str:
    """A MAC in QEMU's range (52:54:00). A guest that comes again has its former one, as its neighbours remember it."""
    return "52:54:00:" + sha256(f"{name} {address}".encode()).digest()[:3].hex(":")


def _check_labels(labels: Mapping[str, str]) -> dict[str, str]:
    try:
        return {check_label_key(key): check_label_value(value) for key, value in labels.items()}
    except ValueError as error:
        raise LabError(str(error)) from None


class Lab:
    """The lab named ``name`` on this machine, whether it is up or not.

    ``run_root`` holds all labs' directories. ``cache`` keeps what may outlive a lab (libvirt's capability probes).
    ``images`` gives the VM guests' image when one is started (the project's own unless told otherwise).
    """

    def __init__(
        self,
        name: str = "lab",
        *,
        run_root: Path = RUN_ROOT,
        cache: Path | None = None,
        images: ImageSource | None = None,
    ) -> None:
        self.paths = LabPaths.of(name, run_root)
        self._cache = cache or Path(os.environ.get("OUTRIDER_CACHE", DEFAULT_CACHE))
        self._images = images or (lambda: own_guest_image(self._cache))

    # ---- the whole ----

    def up(
        self,
        servers: int | Sequence[str] = 3,
        *,
        libvirt: bool = True,
        controller: Sequence[str] = (),
        agent: Sequence[str] = (),
    ) -> LabRecord:
        """Bring up the servers, the controller and an agent on each; servers that are up already stay as they are.

        ``controller`` and ``agent`` are command lines (``outrider.lab.commands``; none is started when empty) with
        words to fill in (``server.start_controller``, ``server.agent_words``). When a new lab cannot be brought up
        whole, nothing of it stays.
        """
        names = _server_names(servers)
        if os.geteuid() != 0:
            raise LabError("a lab needs root: it makes namespaces")
        fresh = not self.paths.home.exists()
        try:
            starting = self._lay_out(controller) if fresh else []
            missing = [name for name in names if name not in self._healthy().servers]
            self._add_servers(missing, starting, libvirt, agent)
            return self.status()
        except BaseException:
            if fresh:
                sweep(self.paths)
            raise

    def _lay_out(self, controller: Sequence[str]) -> list[Starting]:
        self._make_home()
        self.paths.logs.mkdir()
        self.paths.web.mkdir()
        (self.paths.web / "index.html").write_text("<p>a guest of the Outrider lab</p>\n")
        write_record(self.paths, LabRecord(switch=fabric.make_switch(self.paths)))
        return [start_controller(self.paths, controller)] if controller else []

    def _make_home(self) -> None:
        """Another lab that ends in this moment may take the common directory away between two steps."""
        for _ in range(100):
            try:
                self.paths.home.mkdir(parents=True, mode=0o755)
                return
            except FileNotFoundError:
                continue
        raise LabError(f"{self.paths.home} cannot be made: its parent vanishes again and again")

    def _add_servers(
        self, names: Sequence[str], starting: list[Starting], libvirt: bool, agent: Sequence[str]
    ) -> None:
        """Make the servers one by one, then let everything in them get ready side by side."""
        made = [self._make_server(name, libvirt) for name in names]
        if libvirt:
            for server in made:
                configure_libvirt(self.paths, server.name, with_hook=bool(agent))
                starting.append(start_libvirt(self.paths, server, self._cache))
        for one in starting:
            one.wait()
        if libvirt and made:
            remember_capabilities(self.paths.server(made[0].name), self._cache)
        if agent:
            agents = [start_agent(self.paths, server, agent) for server in made]
            for one in agents:
                one.wait()
            for server in made:
                self._record_server(replace(server, agent=True))

    def _make_server(self, name: str, libvirt: bool) -> ServerRecord:
        index = 1 + max((server.index for server in self.status().servers.values()), default=0)
        server = make_server(self.paths, self._switch(), name, index, libvirt)
        self._record_server(server)
        return server

    def _record_server(self, server: ServerRecord) -> None:
        edit_record(self.paths, lambda record: record.with_server(server))

    def down(self) -> None:
        """Remove the lab and whatever a killed run left of it; harmless when there is nothing."""
        sweep(self.paths)

    def left_behind(self) -> list[str]:
        """One line for each process, mount or file of this lab on the machine."""
        return left_behind_of(self.paths)

    def status(self) -> LabRecord:
        """What is in the lab, as recorded."""
        return read_record(self.paths)

    def _healthy(self) -> LabRecord:
        record = self.status()
        holders = [record.switch, *(server.holder for server in record.servers.values())]
        if not all(holder and is_alive(holder) for holder in holders):
            raise LabError(f"lab {self.paths.name!r} is broken: take it down with `outrider lab down` first")
        return record

    def _switch(self) -> ProcessRecord:
        switch = self._healthy().switch
        if switch is None:
            raise LabError(f"lab {self.paths.name!r} has no switch: take it down and up again")
        return switch

    # ---- guests and clients ----

    def run_guest(
        self, name: str, server: str, format: str = VM, *, ip: str, labels: Mapping[str, str] | None = None
    ) -> GuestRecord:
        """Start a guest (``format`` vm or container) with IPv4 address ``ip`` on ``server``.

        Returns when the hypervisor runs it, not when it answers. A guest of that name that is described in the same
        way and runs already is returned as it is.
        """
        self._check_new_name(name, of_guest=True)
        if format not in (VM, CONTAINER):
            raise LabError(f"format {format!r} is not known: vm or container")
        address = fabric.parse_address(ip)
        guest = GuestRecord(
            name, str(uuid.uuid4()), format, server, _mac_of(name, address), address, _check_labels(labels or {})
        )
        home = self._server(server)
        known = self.status().guests.get(name)
        if known and (running := self._found(known)):
            return self._same_guest(running, guest)
        if format == CONTAINER:
            guest = container.start_container(self.paths, guest, home)
        else:
            machine.require_libvirt(home)
            machine.start_machine(self.paths, guest, home, self._images())
        edit_record(self.paths, lambda record: record.with_guest(guest))
        return guest

    def stop_guest(self, name: str) -> None:
        """End a guest at once; harmless when there is none of that name."""
        known = self.status().guests.get(name)
        if known is None:
            return
        guest = self._found(known) or known
        if guest.format == CONTAINER:
            container.stop_container(self.paths, guest, self._server(guest.server))
        else:
            machine.stop_machine(self.paths, guest, self._server(guest.server))
        edit_record(self.paths, lambda record: record.without_guest(name))

    def client(self, name: str, ip: str) -> ClientRecord:
        """An unprotected machine on the fabric; one that exists with the same address is returned as it is."""
        self._check_new_name(name, of_guest=False)
        address = fabric.parse_address(ip)
        clients = self.status().clients
        if known := clients.get(name):
            if known.address != address:
                raise LabError(f"client {name!r} exists with address {known.address}")
            return known
        client = fabric.make_client(self.paths, self._switch(), name, address, len(clients) + 1)
        edit_record(self.paths, lambda record: record.with_client(client))
        return client

    def migrate(self, name: str, server: str, bandwidth: int | None = None) -> GuestRecord:
        """Move a running guest to ``server``; harmless when it is there already.

        ``bandwidth`` (MiB/s, VMs only) stretches the move. Raises ``LabError`` when it is refused or cut; the guest
        then goes on running where it was.
        """
        guest = self.guest(name)
        source, target = self._server(guest.server), self._server(server)
        if source.name == target.name:
            return guest
        if guest.format == CONTAINER:
            moved = container.move_container(self.paths, guest, source, target)
        else:
            moved = machine.move_machine(self.paths, guest, source, target, bandwidth)
        edit_record(self.paths, lambda record: record.with_guest(moved))
        return moved

    def cut_migration(self, name: str) -> None:
        """Cancel a VM's migration half-way (from another thread or process than ``migrate``)."""
        guest = self.guest(name)
        if guest.format == CONTAINER:
            raise LabError("a container's move is one step and cannot be cut")
        machine.cut_move(self.paths, guest, self._server(guest.server))

    # ---- being inside ----

    def pid(self, name: str) -> int:
        """The process that holds the namespaces of a server, client or container, or of the ``switch``."""
        return self._holder(name).pid

    def server_pid(self, name: str) -> int:
        """As ``pid``, for a server only: enter its namespaces through ``/proc/PID/ns`` or nsenter."""
        return self._server(name).holder.pid

    def exec(self, name: str, command: Sequence[str], text: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run ``command`` in a server, client or guest (or the ``switch``), and wait for it.

        A VM's own shell runs it, without ``text``, and both its streams come as ``stdout``.
        """
        if self._is_machine(name):
            return machine.run_in_machine(self.paths, self.guest(name), command)
        return run_inside(self._holder(name), command, self.paths.home, text)

    def attend(self, name: str, command: Sequence[str]) -> int:
        """As ``exec``, on this terminal (a VM's output follows when it has ended); returns the exit code."""
        if self._is_machine(name):
            done = self.exec(name, command)
            print(done.stdout, end="")
            return done.returncode
        return self.popen(name, command).wait()

    def popen(self, name: str, command: Sequence[str], **options: object) -> "subprocess.Popen[bytes]":
        """Start ``command`` in a server, client or container; ``options`` are those of ``subprocess.Popen``."""
        environment = marked_environment(self.paths.home)
        return subprocess.Popen(inside(self._holder(name), command), env=environment, **options)  # type: ignore[call-overload,no-any-return]

    def guest(self, name: str) -> GuestRecord:
        """A guest, with the server it is really on. Raises ``LabError`` naming the guests there are."""
        record = self.status()
        if name not in record.guests:
            raise LabError(f"there is no guest {name!r}; there are: {', '.join(sorted(record.guests)) or 'none'}")
        found = self._found(record.guests[name])
        if found is None:
            raise LabError(f"guest {name!r} has ended: `outrider lab run` starts it again")
        return found

    def _found(self, guest: GuestRecord) -> GuestRecord | None:
        """The guest as it runs now, None when it has ended: a VM may have moved on after its mover was killed."""
        if guest.format == CONTAINER:
            return guest if guest.holder and is_alive(guest.holder) else None
        servers = self.status().servers
        others = [server for name, server in servers.items() if name != guest.server]
        server = machine.find_machine(self.paths, guest, [servers[guest.server], *others])
        if server and server.name != guest.server:
            guest = replace(guest, server=server.name)
            edit_record(self.paths, lambda record: record.with_guest(guest))
        return guest if server else None

    def _is_machine(self, name: str) -> bool:
        known = self.status().guests.get(name)
        return known is not None and known.format == VM

    def _server(self, name: str) -> ServerRecord:
        servers = self.status().servers
        if name not in servers:
            raise LabError(f"there is no server {name!r}; there are: {', '.join(sorted(servers)) or 'none'}")
        return servers[name]

    def _holder(self, name: str) -> ProcessRecord:
        record = self.status()
        if name == "switch" and record.switch:
            return record.switch
        if name in record.servers:
            return record.servers[name].holder
        if name in record.clients:
            return record.clients[name].holder
        holder = self.guest(name).holder
        if holder is None:
            raise LabError(f"guest {name!r} is a VM: it has no namespaces to enter")
        return holder

    def _check_new_name(self, name: str, of_guest: bool) -> None:
        check_short_name(name, "guest name" if of_guest else "client name")
        record = self.status()
        others = [*record.servers, "switch", *(record.clients if of_guest else record.guests)]
        if name in others:
            raise LabError(f"the name {name!r} is taken by something else in this lab")

    def _same_guest(self, known: GuestRecord, wanted: GuestRecord) -> GuestRecord:
        if replace(wanted, uuid=known.uuid, mac=known.mac, holder=known.holder, port=known.port) != known:
            raise LabError(f"guest {known.name!r} exists already, on {known.server} with address {known.address}")
        return known
