"""The report and the JSON of a demo: complete, self-contained, and never friendlier than the numbers."""

import json
import re

from sample import sample_result

from outrider.lab.demo.report import render_report
from outrider.lab.demo.result import DemoResult, to_json


def test_the_report_of_a_good_demo_says_so_and_names_everything() -> None:
    text = render_report(sample_result())
    assert "not one of its packets went uninspected" in text
    assert text.count('<svg class="topology"') == 4
    assert text.count('<svg class="timeline"') == 1
    for word in ("suricata-ips-s1-1", "suricata-ips-s2-1", "web-2", "sent while the guest ran nowhere"):
        assert word in text


def test_the_report_needs_nothing_from_elsewhere() -> None:
    text = render_report(sample_result())
    assert not re.search(r"(src|href)\s*=|url\(|@import|<script", text)


def test_the_report_of_a_demo_with_an_uninspected_packet_says_that_first() -> None:
    text = render_report(sample_result(uninspected=3))
    assert "The demo did not show what it should" in text
    assert "3 packets were delivered without inspection" in text
    assert "not one of its packets" not in text


def test_names_from_outside_cannot_become_markup() -> None:
    assert "&lt;web-1&gt; runs on s2" in render_report(sample_result())


def test_a_demo_that_broke_off_still_has_a_report() -> None:
    broken = DemoResult("vm", ("s1", "s2"), "web-1", problems=("the lab did not come up",))
    assert "the lab did not come up" in render_report(broken)
    assert to_json(broken)["ok"] is False


def test_the_json_has_the_keys_that_scripts_rely_on() -> None:
    written = json.loads(json.dumps(to_json(sample_result())))
    phase_keys = {
        *("name", "sent", "received", "lost", "duplicated", "reordered", "uninspected", "inspected_by"),
        "attack_blocked",
    }
    assert [phase["name"] for phase in written["phases"]] == ["before", "interim", "after"]
    assert all(phase_keys <= phase.keys() for phase in written["phases"])
    move_keys = {
        *("guest", "from", "to", "arrival_seen", "armed", "guest_running"),
        *("appliance_requested", "appliance_ready", "switched"),
    }
    assert all(move_keys <= move.keys() for move in written["moves"])
    assert written["second_guest"]["appliances_created"] == 0
    assert written["uninspected_total"] == 0
    assert written["left_behind"] == []
    assert written["ok"] is True
