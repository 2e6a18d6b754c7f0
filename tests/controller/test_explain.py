"""What ``explain guest`` says when there is nothing to protect, or nothing that can be."""

from dataclasses import replace

from outrider.controller.explain import explain_guest
from outrider.domain.guest import GuestState
from outrider.domain.labels import Selector
from outrider.domain.observation import GuestObservation, ServerObservation, VnicObservation
from outrider.domain.policy import SecurityPolicy
from outrider.planning.cluster import ClusterState, ServerView

WEB = SecurityPolicy("web-tier", ("ips",), Selector.from_match_labels({"tier": "web"}), 100)
GUEST = GuestObservation("0d6b1c0e-0000-4000-8000-000000000001", "web-1", GuestState.RUNNING, {"tier": "web"})


def lines(guest: GuestObservation, *policies: SecurityPolicy) -> str:
    view = ServerView(ServerObservation("s1", "192.0.2.1", 1700, 8, guests=(guest,)))
    return "\n".join(explain_guest(ClusterState(policies, servers={"s1": view}), "web-1"))


def test_a_guest_without_vnics_has_nothing_to_inspect():
    assert "it has no vnics: nothing to inspect" in lines(GUEST, WEB)


def test_a_vnic_that_no_program_sees_is_not_protected_and_the_reason_is_given():
    refused = VnicObservation("52:54:00:00:00:01", "macvtap0", "macvtap has no port whose packets tc sees")
    text = lines(replace(GUEST, vnics=(refused,)), WEB)
    assert "not protected: macvtap has no port whose packets tc sees" in text


def test_a_guest_that_no_policy_selects_says_how_many_there_are():
    assert "none of 1 policies selects it" in lines(replace(GUEST, labels={}), WEB)


def test_of_several_policies_it_says_which_came_first():
    text = lines(GUEST, WEB, replace(WEB, name="other", priority=1))
    assert "policy web-tier (priority 100) applies" in text
    assert "policy other (priority 1) also selects it, but web-tier comes first" in text


def test_a_guest_nobody_knows_is_explained_by_nothing():
    view = ServerView(ServerObservation("s1", "192.0.2.1", 1700, 8))
    assert explain_guest(ClusterState(servers={"s1": view}), "web-9") == []
