"""What a domain's XML says of a guest, and which vnics are refused with which reason."""

import pytest

from outrider.domain.guest import GuestState
from outrider.domain.observation import GuestObservation
from outrider.hypervisors.description import labels_xml, parse_domain

MAC = "<mac address='52:54:00:00:00:01'/>"
TAP = f"<interface type='bridge'>{MAC}<source bridge='br0'/><target dev='vnet0'/></interface>"


def domain(*interfaces: str, metadata: str = "") -> str:
    return (
        "<domain type='kvm'><name>web-1</name><uuid>6F9F2C1E-0000-0000-0000-000000000001</uuid>"
        f"<metadata>{metadata}</metadata><devices>{''.join(interfaces)}</devices></domain>"
    )


def refusals(*interfaces: str) -> list[str | None]:
    return [vnic.refused for vnic in parse_domain(domain(*interfaces)).vnics]


def test_a_guest_has_its_identity_labels_and_ports() -> None:
    metadata = labels_xml({"tier": "web", "example.org/zone": "a"})
    guest = parse_domain(domain(TAP, metadata=metadata), GuestState.RUNNING)
    assert isinstance(guest, GuestObservation)
    assert (guest.uuid, guest.name) == ("6f9f2c1e-0000-0000-0000-000000000001", "web-1")
    assert guest.labels == {"tier": "web", "example.org/zone": "a"}
    assert [(vnic.mac, vnic.port, vnic.refused) for vnic in guest.vnics] == [("52:54:00:00:00:01", "vnet0", None)]


def test_metadata_of_others_is_not_ours() -> None:
    other = '<o:labels xmlns:o="https://example.org/"><o:label key="tier" value="web"/></o:labels>'
    assert parse_domain(domain(TAP, metadata=other)).labels == {}


def test_a_label_that_no_selector_could_name_is_left_out() -> None:
    metadata = (
        '<outrider:labels xmlns:outrider="https://outrider.dev/domain/1">'
        '<outrider:label key="-bad-" value="x"/><outrider:label key="tier" value="web"/></outrider:labels>'
    )
    assert parse_domain(domain(metadata=metadata)).labels == {"tier": "web"}


def test_a_guest_without_vnics_is_a_guest() -> None:
    assert parse_domain(domain()).vnics == ()


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("direct", "macvtap"),
        ("vhostuser", "vhost-user"),
        ("user", "user-mode"),
        ("hostdev", "PCI"),
        ("vdpa", "vDPA"),
        ("udp", "UDP"),
    ],
)
def test_a_vnic_whose_packets_pass_tc_by_is_refused(kind: str, reason: str) -> None:
    found = refusals(f"<interface type='{kind}'><mac address='52:54:00:00:00:01'/></interface>")
    assert found[0] is not None and reason in found[0]


def test_a_network_that_is_macvtap_in_truth_is_refused() -> None:
    found = refusals(
        f"<interface type='network'>{MAC}<source network='n' dev='eth0' mode='passthrough'/>"
        "<target dev='macvtap0'/></interface>"
    )
    assert found[0] is not None and "macvtap" in found[0]


def test_a_userspace_switch_is_refused_in_its_own_words() -> None:
    ovs = TAP.replace("<target", "<virtualport type='openvswitch'/><target")
    guest = parse_domain(domain(ovs), switch_refusal=lambda bridge, port: f"{bridge} {port}: netdev")
    assert guest.vnics[0].refused == "br0 vnet0: netdev"


def test_two_vnics_with_one_mac_are_both_refused_and_a_third_is_not() -> None:
    third = TAP.replace(":01'", ":02'").replace("vnet0", "vnet2")
    found = refusals(TAP, TAP.replace("vnet0", "vnet1"), third)
    assert found[0] is not None and "2 vnics of this guest have the MAC 52:54:00:00:00:01" in found[0]
    assert found[1] == found[0]
    assert found[2] is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not xml", "not XML"),
        ("<network/>", "expected <domain>"),
        ("<domain><name>x</name></domain>", "<uuid> and <name>"),
        (domain("<interface type='bridge'/>"), "not an Ethernet address"),
        (domain(TAP.replace("52:", "53:")), "group address"),
    ],
)
def test_what_cannot_be_understood_is_said_in_one_sentence(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        parse_domain(text)
    assert "\n" not in str(error.value)
