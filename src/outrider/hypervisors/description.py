"""What a libvirt domain's XML says of a guest: its identity, its labels, its vnics and which of them can be steered.

Labels live in the domain's ``<metadata>`` under a namespace of our own, where libvirt keeps them through migrations.
A vnic is refused, with the reason, when its packets go where no tc program sees them.

Source: https://libvirt.org/formatdomain.html (Network interfaces; General metadata).
"""

import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable, Sequence
from xml.sax.saxutils import quoteattr

import structlog

from outrider.domain.guest import GuestState
from outrider.domain.labels import Labels, check_label_key, check_label_value
from outrider.domain.names import check_mac
from outrider.domain.observation import GuestObservation, VnicObservation

log = structlog.get_logger("hypervisors")

LABELS_NAMESPACE = "https://outrider.dev/domain/1"
LABELS_PREFIX = "outrider"

SwitchRefusal = Callable[[str | None, str | None], str | None]
"""For a bridge and a port: why the port cannot be steered, or None when it can."""

_REFUSED_KINDS = {
    "direct": "macvtap ('direct') has no port whose packets tc sees: use a bridge or Open vSwitch",
    "vhostuser": "vhost-user hands its packets to a userspace switch, past the kernel: use a tap",
    "user": "user-mode networking has no host-side port: use a tap on a bridge",
    "hostdev": "a passed-through PCI device sends past the kernel: use a tap",
    "vdpa": "vDPA sends past the kernel: use a tap",
    "udp": "a UDP tunnel between guests has no host-side port: use a tap on a bridge",
    "mcast": "a multicast tunnel between guests has no host-side port: use a tap on a bridge",
    "server": "a TCP tunnel between guests has no host-side port: use a tap on a bridge",
    "client": "a TCP tunnel between guests has no host-side port: use a tap on a bridge",
    "null": "this vnic is connected to nothing",
    "vds": "a VMware distributed switch is not on this host",
}
_MACVTAP_MODES = ("private", "vepa", "passthrough")


def _label_elements(labels: Labels, declaration: str = "") -> str:
    return "".join(
        f"<{LABELS_PREFIX}:label{declaration} key={quoteattr(key)} value={quoteattr(value)}/>"
        for key, value in sorted(labels.items())
    )


_DECLARATION = f' xmlns:{LABELS_PREFIX}="{LABELS_NAMESPACE}"'


def labels_xml(labels: Labels) -> str:
    """The metadata element that holds ``labels``, for a domain's XML."""
    return f"<{LABELS_PREFIX}:labels{_DECLARATION}>{_label_elements(labels)}</{LABELS_PREFIX}:labels>"


def labels_element(labels: Labels) -> str:
    """The same for libvirt's setMetadata, which declares the namespace on the outermost element, and only once."""
    return f"<labels>{_label_elements(labels, _DECLARATION)}</labels>"


def _steerable(_bridge: str | None, _port: str | None) -> str | None:
    return None


def parse_domain(
    xml: str, state: GuestState = GuestState.ARRIVING, switch_refusal: SwitchRefusal = _steerable
) -> GuestObservation:
    """The guest a domain's XML describes, in ``state``. Raises ``ValueError`` saying what cannot be understood."""
    try:
        domain = ET.fromstring(xml)
    except ET.ParseError as error:
        raise ValueError(f"domain description is not XML: {error}") from None
    if domain.tag != "domain":
        raise ValueError(f"domain description: expected <domain>, found <{domain.tag}>")
    uuid = (domain.findtext("uuid") or "").strip().lower()
    name = (domain.findtext("name") or "").strip()
    if not uuid or not name:
        raise ValueError("domain description: <uuid> and <name> must both be there")
    interfaces = domain.findall("./devices/interface")
    vnics = [_vnic(interface, switch_refusal) for interface in interfaces]
    return GuestObservation(uuid, name, state, _labels(domain), tuple(_refuse_twins(vnics)))


def _labels(domain: ET.Element) -> Labels:
    """Labels whose grammar no selector could name are left out, and said to be."""
    found = {}
    for row in domain.iterfind(f"./metadata/{{{LABELS_NAMESPACE}}}labels/{{*}}label"):
        key, value = row.get("key", ""), row.get("value", "")
        try:
            found[check_label_key(key)] = check_label_value(value)
        except ValueError as error:
            log.warning("label left out", guest=domain.findtext("name"), reason=str(error))
    return found


def _attribute_of(element: ET.Element | None, name: str) -> str | None:
    return element.get(name) if element is not None else None


def _vnic(interface: ET.Element, switch_refusal: SwitchRefusal) -> VnicObservation:
    mac = check_mac(_attribute_of(interface.find("mac"), "address") or "")
    port = _attribute_of(interface.find("target"), "dev")
    return VnicObservation(mac, port, _refusal(interface, port, switch_refusal))


def _refusal(interface: ET.Element, port: str | None, switch_refusal: SwitchRefusal) -> str | None:
    kind, source = interface.get("type", ""), interface.find("source")
    if kind in _REFUSED_KINDS:
        return _REFUSED_KINDS[kind]
    if kind == "network" and _attribute_of(source, "mode") in _MACVTAP_MODES:
        return _REFUSED_KINDS["direct"]
    return switch_refusal(_attribute_of(source, "bridge"), port)


def _refuse_twins(vnics: Sequence[VnicObservation]) -> list[VnicObservation]:
    """Two vnics with one MAC cannot be told apart by what identifies them: neither is steered."""
    seen = Counter(vnic.mac for vnic in vnics)
    return [
        VnicObservation(vnic.mac, vnic.port, f"{seen[vnic.mac]} vnics of this guest have the MAC {vnic.mac}")
        if seen[vnic.mac] > 1
        else vnic
        for vnic in vnics
    ]
