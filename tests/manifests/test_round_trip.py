"""What is written is what is read: manifests, and the JSON of domain values."""

import json
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from outrider.domain.appliance import ApplianceClass, ApplianceFormat
from outrider.domain.guest import VnicId
from outrider.domain.intent import ServerIntent, WireIntent
from outrider.domain.labels import Operator, Requirement, Selector
from outrider.domain.policy import FailurePolicy, OnMissing, Placement, SecurityPolicy
from outrider.domain.ruleset import RuleSet
from outrider.domain.wire import Hop, OpenReason, WireState
from outrider.domain.wire import Path as WirePath
from outrider.manifests.builtin import builtin_classes, with_builtins
from outrider.manifests.codec import CodecError, decode, decode_json, encode, encode_json
from outrider.manifests.convert import Declared, from_manifest, to_manifest, why_nothing_matches
from outrider.manifests.guest_labels import GuestLabels
from outrider.manifests.read import read_paths, read_text
from outrider.manifests.references import check_references

# On a busy machine an example may be slow; that is no fault of what is tested.
steady = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])

EXAMPLES = Path(__file__).parents[2] / "examples"

names = st.from_regex(re.compile(r"[a-z0-9]([-a-z0-9.]{0,20}[a-z0-9])?"), fullmatch=True)
label_keys = st.from_regex(
    re.compile(r"([a-z0-9]{1,5}\.[a-z]{1,3}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,9}[A-Za-z0-9])?"), fullmatch=True
)
label_values = st.one_of(
    st.just(""), st.from_regex(re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,9}[A-Za-z0-9])?"), fullmatch=True)
)
values = st.lists(label_values, min_size=1, max_size=3).map(tuple)
requirements = st.one_of(
    st.builds(Requirement, label_keys, st.sampled_from([Operator.IN, Operator.NOT_IN]), values),
    st.builds(Requirement, label_keys, st.sampled_from([Operator.EXISTS, Operator.DOES_NOT_EXIST])),
)
selectors = st.one_of(
    st.lists(requirements, max_size=3).filter(lambda each: why_nothing_matches(each) is None).map(tuple).map(Selector),
    st.dictionaries(label_keys, label_values, max_size=3).map(Selector.from_match_labels),
)
controls = st.lists(names, min_size=1, max_size=4, unique=True).map(tuple)
policies = st.builds(
    SecurityPolicy, names, controls, selectors, st.integers(-(2**31) + 1, 2**31 - 1),
    st.sampled_from(OnMissing), st.sampled_from(FailurePolicy), st.sampled_from(Placement),
)  # fmt: skip
classes = st.builds(
    ApplianceClass, names, controls, names, st.sampled_from(ApplianceFormat), st.none() | names,
    st.integers(64, 1 << 20), st.floats(0.001, 3600), st.integers(1, 4000),
)  # fmt: skip
rulesets = st.builds(RuleSet, names, st.text())
labels = st.builds(
    GuestLabels,
    st.uuids().map(str) | st.sampled_from(["web-1", "Web 1", "gäst", "a.b_c"]),
    st.dictionaries(label_keys, label_values, max_size=3),
)
declared = st.one_of(policies, classes, rulesets, labels)


@steady
@given(declared)
def test_an_object_survives_its_manifest(value: Declared) -> None:
    assert from_manifest(to_manifest(value)) == value


@steady
@given(st.lists(st.one_of(policies, classes, labels), max_size=4, unique_by=lambda each: (type(each), each.name)))
def test_objects_survive_yaml(objects: list[Declared]) -> None:
    text = yaml.safe_dump_all([to_manifest(value) for value in objects], allow_unicode=True)
    assert [document.value for document in read_text(text, "m.yaml")] == objects


@steady
@given(policies)
def test_a_selector_selects_the_same_after_the_round_trip(policy: SecurityPolicy) -> None:
    again = from_manifest(json.loads(json.dumps(to_manifest(policy))))
    assert isinstance(again, SecurityPolicy)
    for labels_ in (
        {},
        {"a": "b"},
        {line.key: value for line in policy.selector.requirements for value in line.values},
    ):
        assert again.selector.matches(labels_) == policy.selector.matches(labels_)


vnics = st.builds(VnicId, st.uuids().map(str), st.just("52:54:00:00:00:01"))
hops = st.builds(Hop, names, names, st.integers(1, 4000), st.none() | st.integers(1, 32767))
paths = st.builds(WirePath, st.integers(1, 99), st.lists(hops, min_size=1, max_size=2).map(tuple))
wires = st.builds(
    WireIntent,
    vnic=vnics,
    guest_name=st.text(),
    state=st.sampled_from(WireState),
    paths=st.lists(paths, max_size=2).map(tuple),
    active=st.none() | st.integers(1, 99),
    await_announcement=st.booleans(),
    open_reason=st.none() | st.sampled_from(OpenReason),
    reason=st.text(),
)
intents = st.builds(ServerIntent, names, st.integers(0), st.lists(wires, max_size=3).map(tuple))


@steady
@given(intents)
def test_an_intent_survives_json(intent: ServerIntent) -> None:
    assert decode(ServerIntent, encode(intent)) == intent
    line = encode_json(intent)
    assert b"\n" not in line
    assert decode_json(ServerIntent, line) == intent


def test_json_that_is_no_such_value_names_its_first_fault() -> None:
    with pytest.raises(CodecError, match=r"not a ServerIntent: wires\.0\.state"):
        decode(
            ServerIntent,
            {"server": "s1", "wires": [{"vnic": {"guest": "g", "mac": "m"}, "guest_name": "", "state": "?"}]},
        )


def test_fields_of_a_newer_version_are_passed_over() -> None:
    assert decode(ServerIntent, {"server": "s1", "newer": 1}) == ServerIntent("s1")


@pytest.mark.parametrize(
    "path", sorted([*EXAMPLES.glob("*.yaml"), *(p for p in EXAMPLES.iterdir() if p.is_dir())]), ids=lambda p: p.name
)
def test_each_example_can_be_applied(path: Path) -> None:
    found = [document.value for document in read_paths([path])]
    assert found
    assert check_references(with_builtins(found)) == ()


def test_the_built_in_classes_are_there() -> None:
    assert {each.name: each.controls for each in builtin_classes()} == {
        "suricata-ips": ("ips",),
        "bridge-null": ("none",),
    }
