"""Container guests described by files: seen when written, gone when removed, announced before either."""

import asyncio
import json
from pathlib import Path

import pytest

from outrider.domain.guest import GuestState
from outrider.hypervisors.combined import CombinedHypervisor
from outrider.hypervisors.containers import (
    ContainerDescription,
    ContainerHypervisor,
    parse_container,
    remove_description,
    write_description,
)
from outrider.hypervisors.libvirt import LibvirtHypervisor

WEB = ContainerDescription("u-1", "web-1", GuestState.RUNNING, {"tier": "web"}, (("52:54:00:00:00:01", "vc1"),))


async def test_guests_come_change_and_go_with_their_descriptions(tmp_path: Path) -> None:
    changed = asyncio.Event()
    hypervisor = ContainerHypervisor(tmp_path)
    await hypervisor.start(changed.set)
    write_description(tmp_path, WEB)
    async with asyncio.timeout(2):
        await changed.wait()
    (guest,) = hypervisor.snapshot()
    assert (guest.name, guest.state, guest.labels, guest.vnics[0].port) == (
        "web-1",
        GuestState.RUNNING,
        {"tier": "web"},
        "vc1",
    )
    remove_description(tmp_path, "u-1")
    assert hypervisor.snapshot() == ()
    await hypervisor.stop()


async def test_an_announced_guest_is_there_before_its_description(tmp_path: Path) -> None:
    hypervisor = ContainerHypervisor(tmp_path)
    await hypervisor.start(lambda: None)
    announced = hypervisor.announce(WEB.to_json().replace('"running"', '"arriving"'))
    assert announced.state is GuestState.ARRIVING
    assert [guest.state for guest in hypervisor.snapshot()] == [GuestState.ARRIVING]
    write_description(tmp_path, WEB)
    assert [guest.state for guest in hypervisor.snapshot()] == [GuestState.RUNNING]
    await hypervisor.stop()


async def test_a_damaged_description_hides_no_other(tmp_path: Path) -> None:
    write_description(tmp_path, WEB)
    (tmp_path / "broken.json").write_text("{")
    hypervisor = ContainerHypervisor(tmp_path)
    await hypervisor.start(lambda: None)
    assert [guest.name for guest in hypervisor.snapshot()] == ["web-1"]
    assert "not JSON" in hypervisor.problems["broken.json"]
    await hypervisor.stop()


async def test_a_directory_that_is_gone_describes_nobody(tmp_path: Path) -> None:
    hypervisor = ContainerHypervisor(tmp_path / "c")
    await hypervisor.start(lambda: None)
    write_description(tmp_path / "c", WEB)
    assert len(hypervisor.snapshot()) == 1
    (tmp_path / "c" / "u-1.json").unlink()
    (tmp_path / "c").rmdir()
    assert hypervisor.snapshot() == ()
    await hypervisor.stop()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"uuid": ""}, "uuid"),
        ({"state": "flying"}, "flying"),
        ({"vnics": [{"mac": "nonsense"}]}, "not an Ethernet address"),
        ({"vnics": {}}, "vnics"),
        ({"labels": []}, "labels"),
        ({"labels": {"-": "x"}}, "label key"),
    ],
)
def test_bad_descriptions_are_refused_in_one_sentence(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_container(json.dumps({**json.loads(WEB.to_json()), **change}))


def test_each_description_goes_to_the_hypervisor_it_is_for(tmp_path: Path) -> None:
    both = CombinedHypervisor([LibvirtHypervisor("test:///default"), ContainerHypervisor(tmp_path)])
    assert both.announce(WEB.to_json()).name == "web-1"
    assert both.announce("<domain><name>v</name><uuid>u-2</uuid></domain>").name == "v"
    with pytest.raises(ValueError, match="no hypervisor here"):
        both.announce("hello")
