"""Ports of a userspace Open vSwitch are refused; the answers are those of ovs-vsctl 3.1, word for word."""

from pathlib import Path

import pytest

from outrider.hypervisors.userspace_switches import UserspaceSwitches

ANSWERS = """#!/bin/sh
case "$*" in
*list-ports*br0) echo vnet7 ;;
*"list Bridge") echo '{"data":[["br0","netdev"],["br1",""]],"headings":["name","datapath_type"]}' ;;
*) exit 1 ;;
esac
"""


@pytest.fixture
def answering(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "ovs-vsctl"
    program.write_text(ANSWERS)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return program


def test_a_vnic_on_a_userspace_bridge_or_plugged_into_one_is_refused(answering: Path) -> None:
    switches = UserspaceSwitches()
    switches.refresh()
    assert "br0 runs in userspace" in str(switches.refusal("br0", "vnet1"))
    assert "br0 runs in userspace" in str(switches.refusal(None, "vnet7"))
    assert switches.refusal("br1", "vnet2") is None
    assert switches.refusal(None, None) is None


def test_a_switch_that_stops_answering_keeps_its_last_word(answering: Path) -> None:
    switches = UserspaceSwitches()
    switches.refresh()
    answering.write_text("#!/bin/sh\nexit 1\n")
    switches.refresh()
    assert switches.refusal("br0", None) is not None


def test_without_open_vswitch_nothing_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    switches = UserspaceSwitches()
    switches.refresh()
    assert switches.refusal("br0", "vnet7") is None
