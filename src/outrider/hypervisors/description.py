"""What a libvirt domain's XML says of a guest: its identity, its labels, its vnics and which of them can be steered.

Labels live in the domain's ``<metadata>`` under a namespace of our own, where libvirt keeps them through migrations.
A vnic is refused, with the reason, when its packets go where no tc program sees them.

Source: https://libvirt.org/formatdomain.html (Network interfaces; General metadata).
"""

import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable, Sequence
from xml.sax.saxutils import quoteattr

from outrider.domain.guest import GuestState
from outrider.domain.labels import Labels, check_label_key, check_label_value
from outrider.domain.names import check_mac
from outrider.domain.observation import GuestObservation, VnicObservation

LABELS_NAMESPACE = "https://outrider.dev/domain/1"
LABELS_PREFIX = "outrider"

UserspaceSwitch = Callable[[str], str | None]
"""For a bridge's name: why its ports cannot be steered, or None when they can."""

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


def labels_xml(labels: Labels) -> str:
    """The metadata element that holds ``labels``."""
    rows = "".join(
        f"<{LABELS_PREFIX}:label key={quoteattr(key)} value={quoteattr(value)}/>"
        for key, value in sorted(labels.items())
    )
    return f'<{LABELS_PREFIX}:labels xmlns:{LABELS_PREFIX}="{LABELS_NAMESPACE}">{rows}</{LABELS_PREFIX}:labels>'


def _steerable(_bridge: str) -> str | None:
    return None


def parse_domain(
    xml: str, state: GuestState = GuestState.ARRIVING, userspace_switch: UserspaceSwitch = _steerable
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
    vnics = [_vnic(interface, userspace_switch) for interface in interfaces]
    return GuestObservation(uuid, name, state, _labels(domain), tuple(_refuse_twins(vnics)))


def _labels(domain: ET.Element) -> Labels:
    """Labels of bad grammar are left out: a selector could never have named them."""
    found = {}
    for row in domain.iterfind(f"./metadata/{{{LABELS_NAMESPACE}}}labels/{{{LABELS_NAMESPACE}}}label"):
        key, value = row.get("key", ""), row.get("value", "")
        try:
            found[check_label_key(key)] = check_label_value(value)
        except ValueError:
            continue
    return found


def _vnic(interface: ET.Element, userspace_switch: UserspaceSwitch) -> VnicObservation:
    mac_element = interface.find("mac")
    mac = check_mac(mac_element.get("address", "") if mac_element is not None else "")
    target = interface.find("target")
    port = target.get("dev") if target is not None else None
    return VnicObservation(mac, port, _refusal(interface, userspace_switch))


def _refusal(interface: ET.Element, userspace_switch: UserspaceSwitch) -> str | None:
    source = interface.find("source")
    actual_kind = interface.get("type", "")
    if actual_kind in _REFUSED_KINDS:
        return _REFUSED_KINDS[actual_kind]
    if actual_kind == "network" and source is not None and source.get("mode") in ("private", "vepa", "passthrough"):
        return _REFUSED_KINDS["direct"]
    bridge = source.get("bridge") if source is not None else None
    virtualport = interface.find("virtualport")
    if bridge and virtualport is not None and virtualport.get("type") == "openvswitch":
        return userspace_switch(bridge)
    return None


def _refuse_twins(vnics: Sequence[VnicObservation]) -> list[VnicObservation]:
    """Two vnics with one MAC cannot be told apart by what identifies them: neither is steered."""
    seen = Counter(vnic.mac for vnic in vnics)
    return [
        VnicObservation(vnic.mac, vnic.port, f"{seen[vnic.mac]} vnics of this guest have the MAC {vnic.mac}")
        if seen[vnic.mac] > 1
        else vnic
        for vnic in vnics
    ]
