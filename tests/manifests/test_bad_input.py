"""A manifest that cannot be used is refused with the file, the field, and what is allowed there."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from outrider.manifests.builtin import with_builtins
from outrider.manifests.problems import ManifestError
from outrider.manifests.read import read_paths, read_text, reader_beside
from outrider.manifests.references import check_references


def policy(spec: str = "", metadata: str = "{name: web}", head: str = "apiVersion: outrider.dev/v1") -> str:
    return f"{head}\nkind: SecurityPolicy\nmetadata: {metadata}\nspec:\n  selector: {{}}\n  controls: [ips]\n{spec}"


def appliance_class(spec: str) -> str:
    head = "apiVersion: outrider.dev/v1\nkind: ApplianceClass\nmetadata: {name: c}\nspec:\n"
    return f"{head}  controls: [ips]\n  image: suricata-ips\n{spec}"


def guest(metadata: str) -> str:
    return f"apiVersion: outrider.dev/v1\nkind: Guest\nmetadata: {metadata}\n"


def ruleset(spec: str) -> str:
    return f"apiVersion: outrider.dev/v1\nkind: RuleSet\nmetadata: {{name: r}}\nspec: {spec}\n"


@dataclass(frozen=True)
class Case:
    """``field`` and each of ``says`` must be in the message."""

    text: str
    field: str
    says: tuple[str, ...]


CASES = {
    "no mapping": Case("- 1\n- 2\n", "document 1", ("mapping", "apiVersion", "kind", "metadata")),
    "no kind": Case("apiVersion: outrider.dev/v1\n", "kind", ("required", "SecurityPolicy", "Guest")),
    "misspelt kind": Case("kind: SecurityPolcy\n", "kind", ("did you mean 'SecurityPolicy'?", "RuleSet")),
    "observed kind": Case("kind: Wire\n", "kind", ("observed", "allowed: SecurityPolicy")),
    "kind of another type": Case("kind: [a]\n", "kind", ("is not a kind", "allowed: SecurityPolicy")),
    "other apiVersion": Case(policy(head="apiVersion: v1"), "apiVersion", ("'v1'", "allowed: outrider.dev/v1")),
    "no apiVersion": Case(policy(head="# nothing"), "apiVersion", ("required", "metadata")),
    "unknown field": Case(policy("  onMising: hold\n"), "spec.onMising", ("did you mean 'onMissing'?", "priority")),
    "unknown metadata": Case(policy(metadata="{name: a, lables: {}}"), "metadata.lables", ("allowed: name",)),
    "unknown value": Case(policy("  onMissing: wait\n"), "spec.onMissing", ("'wait'", "run-now, hold, allow")),
    "near value": Case(
        policy("  failurePolicy: fail-closed\n"), "spec.failurePolicy", ("mean 'fail-close'?", "fail-open")
    ),
    "name": Case(policy(metadata="{name: Web_1}"), "metadata.name", ("'Web_1'", "lower-case letters")),
    "no controls": Case(policy().replace("[ips]", "[]"), "spec.controls", ("at least 1",)),
    "too many controls": Case(policy().replace("[ips]", "[a, b, c, d, e]"), "spec.controls", ("at most 4",)),
    "control twice": Case(policy().replace("[ips]", "[ips, ips]"), "spec.controls", ("ips is listed more than once",)),
    "control not a name": Case(policy().replace("[ips]", "[ips, 7]"), "spec.controls[1]", ("string", "quotes")),
    "controls not a list": Case(policy().replace("[ips]", "ips"), "spec.controls", ("a list, not a string",)),
    "priority": Case(policy("  priority: high\n"), "spec.priority", ("a whole number, not a string",)),
    "huge priority": Case(policy("  priority: 99999999999\n"), "spec.priority", ("at most 2147483647",)),
    "no selector": Case(policy().replace("  selector: {}\n", ""), "spec.selector", ("required",)),
    "YAML's no": Case(
        policy().replace("selector: {}", "selector: {matchLabels: {tier: no}}"),
        "spec.selector.matchLabels.tier",
        ("a string, not true/false", "quotes"),
    ),
    "label key": Case(
        policy().replace("selector: {}", "selector: {matchLabels: {'a b': c}}"),
        "matchLabels.a b",
        ("'a b'", "63 letters"),
    ),
    "operator": Case(
        policy().replace("selector: {}", "selector: {matchExpressions: [{key: a, operator: in, values: [b]}]}"),
        "spec.selector.matchExpressions[0].operator",
        ("'in'", "In, NotIn, Exists, DoesNotExist"),
    ),
    "operator without values": Case(
        policy().replace("selector: {}", "selector: {matchExpressions: [{key: a, operator: In}]}"),
        "spec.selector.matchExpressions[0].values",
        ("In needs at least one value",),
    ),
    "operator with values": Case(
        policy().replace("selector: {}", "selector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}"),
        "spec.selector.matchExpressions[0].values",
        ("Exists takes no values",),
    ),
    "selects nothing": Case(
        policy().replace(
            "selector: {}",
            "selector: {matchLabels: {a: b}, matchExpressions: [{key: a, operator: NotIn, values: [b]}]}",
        ),
        "spec.selector",
        ("can match no guest", "label a"),
    ),
    "drain": Case(
        policy("  handover: {mode: drain}\n"), "spec.handover.mode", ("not supported yet: drain; allowed: cut",)
    ),
    "drain's deadline": Case(
        policy("  handover: {mode: cut, deadlineSeconds: 3}\n"), "spec.handover.deadlineSeconds", ("not supported yet",)
    ),
    "offload": Case(policy("  offload: [{protocol: tcp}]\n"), "spec.offload", ("not supported yet",)),
    "pool": Case(policy("  placement: {pool: [s1]}\n"), "spec.placement", ("not supported yet: pool; allowed: local",)),
    "field twice": Case(policy("  priority: 1\n  priority: 2\n"), "line 8", ("'priority' is given twice",)),
    "not YAML": Case("a: [\n", "line 2", ("m.yaml",)),
    "a tag": Case("!!python/object:os.system {}\n", "line 1", ("could not determine a constructor",)),
    "deep nesting": Case("[" * 3000 + "]" * 3000, "m.yaml", ("nested too deeply",)),
    "memory": Case(appliance_class("  memoryMiB: 8\n"), "spec.memoryMiB", ("at least 64, not 8",)),
    "no time": Case(appliance_class("  readyWithinSeconds: 0\n"), "spec.readyWithinSeconds", ("more than 0",)),
    "endless time": Case(appliance_class("  readyWithinSeconds: .nan\n"), "spec.readyWithinSeconds", ("finite",)),
    "format": Case(appliance_class("  format: docker\n"), "spec.format", ("'docker'", "vm, container")),
    "wires": Case(appliance_class("  ratedWires: 5000\n"), "spec.ratedWires", ("at most 4000",)),
    "guest without labels": Case(guest("{name: a}"), "metadata.labels", ("required",)),
    "guest of two names": Case(guest("{name: a, uuid: b, labels: {}}"), "metadata", ("either name or uuid",)),
    "guest of no name": Case(guest("{labels: {}}"), "metadata", ("either name or uuid",)),
    "uuid": Case(guest("{uuid: B, labels: {}}"), "metadata", ("'B' is not a UUID",)),
    "guest's name": Case(guest("{name: a/b, labels: {}}"), "metadata.name", ("'a/b'", "without '/'")),
    "label value": Case(guest("{name: a, labels: {a: 'b c'}}"), "metadata.labels.a", ("'b c'", "63 letters")),
    "no rules": Case(ruleset("{engine: suricata}"), "spec", ("text", "file")),
    "two sources of rules": Case(ruleset("{text: a, file: b}"), "spec.file", ("either text or file",)),
    "no such rules": Case(ruleset("{file: nowhere.rules}"), "spec.file", ("nowhere.rules", "No such file")),
    "engine": Case(ruleset("{engine: snort, text: a}"), "spec.engine", ("'snort'", "allowed: suricata")),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_input_names_file_field_and_what_is_allowed(name: str, tmp_path: Path) -> None:
    case, file = CASES[name], tmp_path / "m.yaml"
    file.write_text(case.text)
    with pytest.raises(ManifestError) as caught:
        read_paths([file])
    message = str(caught.value)
    assert str(file) in message
    assert case.field in message
    for words in case.says:
        assert words in message
    assert "Traceback" not in message and "\n\n" not in message


def test_all_problems_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(policy("  a: 1\n  b: 2\n") + "---\n" + guest("{name: g}"))
    (tmp_path / "b.yaml").write_text(policy("  c: 3\n"))
    with pytest.raises(ManifestError) as caught:
        read_paths([tmp_path])
    assert [problem.field for problem in caught.value.problems] == ["spec.a", "spec.b", "metadata.labels", "spec.c"]
    assert "a.yaml: document 2" in str(caught.value)


def test_a_name_used_twice_is_refused_in_one_file_and_across_files(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"document 2: metadata.name: SecurityPolicy 'web' was already given"):
        read_text(f"{policy()}---\n{policy()}", "m.yaml")
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text(policy())
    with pytest.raises(ManifestError, match=r"b.yaml: document 1: .* already given in .*a.yaml: document 1"):
        read_paths([tmp_path])


def test_the_same_name_in_two_kinds_is_fine() -> None:
    assert len(read_text(f"{policy(metadata='{name: r}')}---\n{ruleset('{text: a}')}", "m.yaml")) == 2


@pytest.mark.parametrize(("content", "says"), [(None, "No such file"), (b"\xff\xfe\x00", "UTF-8")])
def test_a_file_that_cannot_be_read(content: bytes | None, says: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "m.yaml").write_bytes(content)
    with pytest.raises(ManifestError, match=says):
        read_paths([tmp_path / "m.yaml"])


def test_a_directory_without_manifests(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="holds no manifest"):
        read_paths([tmp_path])


def test_rules_are_read_from_beside_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "local.rules").write_text("drop ip any any -> any any (sid:1;)\n")
    (document,) = read_text(ruleset("{file: local.rules}"), "m.yaml", reader_beside(tmp_path / "m.yaml"))
    assert "sid:1" in getattr(document.value, "text", "")


def test_only_the_command_line_reads_files() -> None:
    with pytest.raises(ManifestError, match="only the command line reads files"):
        read_text(ruleset("{file: /etc/passwd}"), "request")


def test_a_control_that_no_class_provides_is_found_where_classes_are_known() -> None:
    values = [document.value for document in read_text(policy().replace("[ips]", "[ips, ipss]"), "m.yaml")]
    (problem,) = check_references(with_builtins(values))
    assert str(problem) == (
        "SecurityPolicy web: spec.controls[1]: no appliance class provides 'ipss'; "
        "did you mean 'ips'? allowed: ips, none"
    )


def test_a_rule_set_that_does_not_exist_is_found() -> None:
    values = [document.value for document in read_text(appliance_class("  ruleset: mine\n"), "m.yaml")]
    (problem,) = check_references(values)
    assert "spec.ruleset: there is no RuleSet 'mine'" in str(problem)
