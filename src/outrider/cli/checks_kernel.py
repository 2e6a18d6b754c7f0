"""Questions to the kernel: is it new enough, may we use BPF, and by which hooks."""

import errno
import os
import platform
import re
import socket

from outrider.cli.bpf_syscall import TCX_EGRESS, TCX_INGRESS, program_name, programs_on, try_map
from outrider.cli.checkup import Finding, Verdict, try_in_fresh_network

OLDEST_KERNEL = (6, 1)
OUR_PROGRAMS = "or_"
TUNNEL_PORT = 4790


def check_root() -> Finding:
    """Root is needed for everything the agent does."""
    if os.geteuid() == 0:
        return Finding("root", Verdict.OK, "running as root")
    return Finding("root", Verdict.FAIL, f"running as user {os.geteuid()}", "run it with sudo")


def check_kernel() -> Finding:
    """The programs are tested from Debian 12's kernel on."""
    release = platform.release()
    numbers = tuple(int(number) for number in re.findall(r"\d+", release)[:2])
    if numbers >= OLDEST_KERNEL:
        return Finding("kernel", Verdict.OK, release)
    return Finding("kernel", Verdict.FAIL, release, "Linux 6.1 or newer is needed (Debian 12 has it)")


def check_bpf() -> Finding:
    """The bpf() system call answers us."""
    try:
        try_map()
    except OSError as error:
        return Finding("bpf", Verdict.FAIL, f"bpf() refuses: {error.strerror}", _bpf_advice(error))
    return Finding("bpf", Verdict.OK, "maps can be made")


def _bpf_advice(error: OSError) -> str:
    if error.errno == errno.ENOSYS:
        return "this kernel is built without BPF"
    if os.geteuid() != 0:
        return "run it with sudo"
    return "CAP_BPF and CAP_NET_ADMIN are needed: in a container, start it privileged"


def check_hooks() -> Finding:
    """tcx if the kernel has it (6.6), else clsact."""
    try:
        programs_on(socket.if_nametoindex("lo"), TCX_INGRESS)
        return Finding("hooks", Verdict.OK, "tcx")
    except OSError as error:
        if error.errno == errno.EPERM:
            return Finding("hooks", Verdict.FAIL, f"cannot be asked: {error.strerror}", "run it with sudo")
    failure = try_in_fresh_network(_add_clsact)
    if failure is None:
        advice = "fine, but ports with libvirt's outbound <bandwidth> are refused; Linux 6.6 has tcx and no such limit"
        return Finding("hooks", Verdict.OK, "clsact (no tcx)", advice)
    return Finding("hooks", Verdict.FAIL, f"neither tcx nor clsact: {failure}", "load sch_ingress and cls_bpf")


def check_network_namespaces() -> Finding:
    """The lab and container appliances live in network namespaces."""
    failure = try_in_fresh_network(lambda: None)
    if failure is None:
        return Finding("network namespaces", Verdict.OK, "can be made")
    return Finding("network namespaces", Verdict.FAIL, failure, "in a container, start it privileged")


def check_tunnel() -> Finding:
    """Remote hops need VXLAN in external mode."""
    failure = try_in_fresh_network(_add_tunnel)
    if failure is None:
        return Finding("tunnel", Verdict.OK, "external-mode VXLAN can be made")
    return Finding("tunnel", Verdict.FAIL, f"no external-mode VXLAN: {failure}", "load the vxlan kernel module")


def _add_clsact() -> None:
    from pyroute2 import IPRoute  # noqa: PLC0415 - slow to import, and only this child needs it

    with IPRoute() as links:
        links.tc("add", "clsact", links.link_lookup(ifname="lo")[0])


def _add_tunnel() -> None:
    from pyroute2 import IPRoute  # noqa: PLC0415

    with IPRoute() as links:
        links.link("add", ifname="or-doctor", kind="vxlan", vxlan_port=TUNNEL_PORT, vxlan_collect_metadata=1)


def check_port(port: str) -> list[Finding]:
    """Who has programs on one port, in both directions, and what its tc root for ingress is."""
    try:
        ifindex = socket.if_nametoindex(port)
    except OSError:
        return [Finding(f"port {port}", Verdict.FAIL, "there is no such interface", "ip link shows those there are")]
    directions = (("from the guest", TCX_INGRESS), ("to the guest", TCX_EGRESS))
    found = [_programs_finding(port, words, ifindex, attach_type) for words, attach_type in directions]
    return [*found, _qdisc_finding(port, ifindex)]


def _programs_finding(port: str, words: str, ifindex: int, attach_type: int) -> Finding:
    name = f"port {port}, {words}"
    try:
        names = [program_name(program) for program in programs_on(ifindex, attach_type)]
    except OSError as error:
        return Finding(
            name, Verdict.WARN, f"cannot be asked: {error.strerror}", "the kernel has no tcx, or root is needed"
        )
    if not names:
        return Finding(name, Verdict.OK, "no program")
    if names[0].startswith(OUR_PROGRAMS) or not any(each.startswith(OUR_PROGRAMS) for each in names):
        return Finding(name, Verdict.OK, ", ".join(names))
    return Finding(
        name, Verdict.FAIL, ", ".join(names), "a program before ours sees packets first; the agent repairs it"
    )


def _qdisc_finding(port: str, ifindex: int) -> Finding:
    from pyroute2 import IPRoute  # noqa: PLC0415

    with IPRoute() as links:
        kinds = {str(message.get_attr("TCA_KIND")) for message in links.get_qdiscs(index=ifindex)}
    ours = sorted(kinds & {"ingress", "clsact"})
    if "ingress" in ours:
        advice = "without tcx this port would be refused: take libvirt's outbound <bandwidth> off it"
        return Finding(f"port {port}, tc", Verdict.WARN, "an ingress qdisc", advice)
    return Finding(f"port {port}, tc", Verdict.OK, ", ".join(ours) or "neither clsact nor ingress")
