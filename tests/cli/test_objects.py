"""Objects are declared, shown and deleted; what cannot be is refused with the right exit code."""

import json
import sys
from io import StringIO
from pathlib import Path

import pytest
import yaml

from outrider.cli.exits import FAILED, NOT_FOUND, OK, REFUSED, UNREACHABLE, USAGE

from .conftest import MAC, UUID, Cli, Controller

DEMO = Path(__file__).parents[2] / "examples" / "demo"


def manifest(name: str = "web-tier", controls: str = "ips", selector: str = "{matchLabels: {tier: web}}") -> str:
    return (
        f"apiVersion: outrider.dev/v1\nkind: SecurityPolicy\nmetadata: {{name: {name}}}\n"
        f"spec: {{selector: {selector}, controls: [{controls}]}}\n"
    )


def test_applying_twice_changes_nothing_the_second_time(cli: Cli, controller: Controller) -> None:
    code, out, err = cli("apply", "-f", str(DEMO))
    assert (code, err) == (OK, "")
    assert set(out.split("\n")) >= {"SecurityPolicy web-tier created", "RuleSet demo-rules created"}
    assert cli("apply", "-f", str(DEMO))[1].count("unchanged") == 3


def test_an_edited_object_is_configured(cli: Cli, controller: Controller, tmp_path: Path) -> None:
    file = tmp_path / "m.yaml"
    file.write_text(manifest())
    cli("apply", "-f", str(file))
    file.write_text(manifest().replace("controls", "priority: 5, controls"))
    assert cli("apply", "-f", str(file))[1] == "SecurityPolicy web-tier configured\n"
    assert json.loads(cli("get", "policies", "-o", "json")[1])["items"][0]["spec"]["priority"] == 5


def test_one_bad_document_stops_all(cli: Cli, controller: Controller, tmp_path: Path) -> None:
    file = tmp_path / "m.yaml"
    file.write_text(f"{manifest('good')}---\n{manifest('bad', controls='ipss')}")
    code, out, err = cli("apply", "-f", str(file))
    assert (code, out) == (REFUSED, "")
    assert err == (
        "outrider: SecurityPolicy bad: spec.controls[0]: no appliance class provides 'ipss'; "
        "did you mean 'ips'? allowed: ips, none\n"
    )
    assert json.loads(cli("get", "policies", "-o", "json")[1]) == {"items": []}


def test_a_dry_run_changes_nothing(cli: Cli, controller: Controller) -> None:
    code, out, _ = cli("apply", "-f", str(DEMO), "--dry-run")
    assert code == OK and "created (dry run)" in out
    assert cli("get", "policies")[1] == ""


def test_standard_input(cli: Cli, controller: Controller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", StringIO(manifest("piped")))
    assert cli("apply", "-f", "-")[1] == "SecurityPolicy piped created\n"


def test_what_get_prints_can_be_applied(cli: Cli, controller: Controller, tmp_path: Path) -> None:
    cli("apply", "-f", str(DEMO))
    for form in ("yaml", "json"):
        file = tmp_path / f"again.{form}"
        file.write_text(cli("get", "policies", "-o", form)[1])
        assert cli("apply", "-f", str(file)) == (OK, "SecurityPolicy web-tier unchanged\n", "")


def test_a_policy_that_selects_nobody_is_pointed_out(cli: Cli, controller: Controller, tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(manifest(selector="{matchLabels: {tier: db}}"))
    code, _, err = cli("apply", "-f", str(tmp_path / "m.yaml"))
    assert (code, err) == (OK, "warning: SecurityPolicy web-tier selects none of the 1 guests known now\n")


def test_a_class_that_is_needed_is_not_deleted(cli: Cli, controller: Controller, tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(
        "apiVersion: outrider.dev/v1\nkind: ApplianceClass\nmetadata: {name: fw}\n"
        f"spec: {{controls: [firewall], image: nft}}\n---\n{manifest(controls='firewall')}"
    )
    assert cli("apply", "-f", str(tmp_path / "m.yaml"))[0] == OK
    code, _, err = cli("delete", "class", "fw")
    assert code == REFUSED
    assert "SecurityPolicy web-tier: spec.controls[0]: no appliance class provides 'firewall'" in err
    assert cli("delete", "-f", str(tmp_path / "m.yaml"))[1].count("deleted") == 2


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["get", "policies", "nobody"], NOT_FOUND, "there is no SecurityPolicy 'nobody'"),
        (["describe", "server", "s9"], NOT_FOUND, "there is no Server 's9'"),
        (["delete", "policy", "nobody"], NOT_FOUND, "there is no SecurityPolicy 'nobody' to delete"),
        (["delete", "wires", "w"], REFUSED, "observed, not declared"),
        (["delete"], USAGE, "KIND NAME or -f FILE"),
        (["get", "polices"], USAGE, "'polices' is not a kind; allowed: policies"),
        (["get", "guests", "-o", "xml"], USAGE, "xml"),
        (["apply"], USAGE, "filename"),
        (["apply", "-f", "/nowhere.yaml"], REFUSED, "/nowhere.yaml: cannot be read: No such file"),
        (["explain", "guest", "nobody"], NOT_FOUND, "no server knows a guest 'nobody'"),
        (["explain", "policy", "x"], USAGE, "only guests"),
        (["label", "guest", "web-1", "tier"], USAGE, "neither KEY=VALUE nor KEY-"),
        (["label", "guest", "web-1", "a b=c"], REFUSED, "label key 'a b'"),
        (["label", "guest", "a/b", "c=d"], REFUSED, "not a guest's name"),
    ],
)
def test_what_cannot_be_done(arguments: list[str], code: int, says: str, cli: Cli, controller: Controller) -> None:
    found, out, err = cli(*arguments)
    assert (found, out) == (code, "")
    assert says in err and err.startswith("outrider: ") and err.count("\n") == 1


def test_nobody_there(cli: Cli, tmp_path: Path) -> None:
    code, out, err = cli("get", "guests", "--server", f"unix:{tmp_path}/nobody.sock")
    assert (code, out) == (UNREACHABLE, "")
    assert "nobody.sock: No such file or directory" in err


def test_a_fault_of_the_controller_is_told_without_its_inside(cli: Cli, controller: Controller) -> None:
    controller.state.fault = RuntimeError("secret detail")
    code, _, err = cli("get", "guests")
    assert (code, err) == (FAILED, "outrider: internal fault (RuntimeError); the controller's log has the traceback\n")


def test_labels_are_added_and_taken_away(cli: Cli, controller: Controller) -> None:
    assert cli("label", "guest", "web-1", "tier=web", "zone=a")[1] == "Guest web-1 created\n"
    assert cli("label", "guest", "web-1", "zone-", "rack=3")[1] == "Guest web-1 configured\n"
    shown = json.loads(cli("describe", "guest", "web-1", "-o", "json")[1])
    assert shown["declaredLabels"][0]["metadata"]["labels"] == {"tier": "web", "rack": "3"}
    code, _, err = cli("label", "guest", "later", "a=b")
    assert code == OK and "no server knows a guest 'later' yet" in err


def test_a_guest_is_found_by_name_and_by_uuid(cli: Cli, controller: Controller) -> None:
    for name in ("web-1", UUID):
        (row,) = json.loads(cli("get", "guests", name, "-o", "json")[1])["items"]
        assert row["vnics"][0]["mac"] == MAC
    described = yaml.safe_load(cli("describe", "guest", "web-1")[1])
    assert described["wires"][0]["path"][0]["appliance"] == "suricata-ips-s1-1"


def test_tables_show_the_way_a_wire_takes(cli: Cli, controller: Controller) -> None:
    header, row = cli("get", "wires")[1].splitlines()
    assert header.split()[:3] == ["GUEST", "SERVER", "PORT"]
    assert row.split()[:5] == ["web-1", "s1", "vnet0", "path", "suricata-ips-s1-1"]
    assert "12.3k" in row
    guest = cli("get", "guests")[1].splitlines()[1]
    assert guest.split() == ["web-1", "s1", "running", "web-tier", "tier=web", "vnet0"]
    assert "BEFORE ARMING" in cli("get", "wires", "-o", "wide")[1]


@pytest.mark.parametrize("kind", ["servers", "appliances", "moves", "policies", "rulesets"])
def test_an_empty_list_is_empty_for_scripts_too(kind: str, cli: Cli, controller: Controller) -> None:
    assert json.loads(cli("get", kind, "-o", "json")[1]) == {"items": []}
    assert cli("get", kind)[:2] == (OK, "")


def test_the_built_in_classes_are_shown(cli: Cli, controller: Controller) -> None:
    out = cli("get", "classes")[1]
    assert "suricata-ips" in out and "bridge-null" in out


def test_a_stream_that_ends_is_told(cli: Cli, controller: Controller) -> None:
    code, out, err = cli("events", "--follow")
    assert (code, err) == (FAILED, "outrider: the controller ended the stream of events\n")
    assert out.count("\n") == 2


def test_events_are_lines_for_people_and_json_lines_for_scripts(cli: Cli, controller: Controller) -> None:
    assert cli("events")[1].count("Move/web-1: m\n") == 2
    assert [json.loads(line)["sequence"] for line in cli("events", "-o", "json")[1].splitlines()] == [1, 2]
