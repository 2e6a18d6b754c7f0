"""Manifests to domain values and back.

``from_manifest(to_manifest(x)) == x`` for every declared object (a property test holds it), so that ``get -o yaml``
can be edited and applied again.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from outrider.domain.appliance import ApplianceClass
from outrider.domain.labels import Operator, Requirement, Selector
from outrider.domain.policy import Handover, SecurityPolicy
from outrider.domain.ruleset import RuleSet
from outrider.manifests.findings import find_problems
from outrider.manifests.guest_labels import GuestLabels, is_uuid
from outrider.manifests.kinds import (
    API_VERSION,
    APPLIANCE_CLASS,
    DECLARED_KINDS,
    GUEST,
    KINDS,
    RULE_SET,
    SECURITY_POLICY,
    Kind,
)
from outrider.manifests.problems import ManifestError, Origin, Problem, allowed_text
from outrider.manifests.shapes import (
    ApplianceClassManifest,
    GuestManifest,
    Manifest,
    RuleSetManifest,
    SecurityPolicyManifest,
    SelectorShape,
)

Declared = SecurityPolicy | ApplianceClass | RuleSet | GuestLabels
M = TypeVar("M", bound=Manifest)

_FROM_REQUEST = Origin("request", 1)


def kind_of(value: Declared) -> Kind:
    """The kind of a declared object."""
    match value:
        case SecurityPolicy():
            return SECURITY_POLICY
        case ApplianceClass():
            return APPLIANCE_CLASS
        case RuleSet():
            return RULE_SET
        case GuestLabels():
            return GUEST


def from_manifest(data: object, origin: Origin = _FROM_REQUEST) -> Declared:
    """The domain value that one document describes; raises ``ManifestError`` with every problem found in it."""
    kind = _kind_in(data, origin)
    if kind is SECURITY_POLICY:
        return _policy(_checked(SecurityPolicyManifest, data, origin), origin)
    if kind is APPLIANCE_CLASS:
        return _appliance_class(_checked(ApplianceClassManifest, data, origin))
    if kind is RULE_SET:
        return _ruleset(_checked(RuleSetManifest, data, origin))
    metadata = _checked(GuestManifest, data, origin).metadata
    return GuestLabels(guest=metadata.uuid or metadata.name or "", labels=metadata.labels)


def _kind_in(data: object, origin: Origin) -> Kind:
    if not isinstance(data, Mapping):
        raise _one(origin, "", "must be a mapping with apiVersion, kind and metadata")
    names = [kind.name for kind in DECLARED_KINDS]
    if "kind" not in data:
        raise _one(origin, "kind", f"is required; allowed: {', '.join(names)}")
    word = data["kind"]
    for kind in KINDS:
        if kind.name == word and kind.declared:
            return kind
        if kind.name == word:
            raise _one(origin, "kind", f"{word} is observed, not declared; allowed: {', '.join(names)}")
    raise _one(origin, "kind", f"{word!r} is not a kind; {allowed_text(word, names)}")


def _one(origin: Origin, field: str, message: str) -> ManifestError:
    return ManifestError([Problem(str(origin), field, message)])


def _checked(model: type[M], data: object, origin: Origin) -> M:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise ManifestError(find_problems(error, model, origin)) from error


def _policy(manifest: SecurityPolicyManifest, origin: Origin) -> SecurityPolicy:
    spec = manifest.spec
    return SecurityPolicy(
        name=manifest.metadata.name,
        controls=tuple(spec.controls),
        selector=_selector(spec.selector, origin),
        priority=spec.priority,
        on_missing=spec.on_missing,
        failure_policy=spec.failure_policy,
        placement=spec.placement,
        handover=Handover(mode=spec.handover.mode),
    )


def _selector(shape: SelectorShape, origin: Origin) -> Selector:
    requirements = list(Selector.from_match_labels(shape.match_labels).requirements)
    problems = []
    for index, line in enumerate(shape.match_expressions):
        try:
            requirements.append(Requirement(line.key, line.operator, tuple(line.values)))
        except ValueError as error:
            field = f"spec.selector.matchExpressions[{index}].values"
            problems.append(Problem(str(origin), field, str(error)))
    reason = why_nothing_matches(requirements)
    if reason:
        problems.append(Problem(str(origin), "spec.selector", f"can match no guest: {reason}"))
    if problems:
        raise ManifestError(problems)
    return Selector(tuple(requirements))


def why_nothing_matches(requirements: list[Requirement]) -> str | None:
    """Why no labels at all could meet ``requirements``, or None. A policy that can select nothing is a mistake."""
    for key in sorted({requirement.key for requirement in requirements}):
        lines = [requirement for requirement in requirements if requirement.key == key]
        operators = {line.operator for line in lines}
        needs_key = operators & {Operator.IN, Operator.EXISTS}
        if needs_key and Operator.DOES_NOT_EXIST in operators:
            return f"label {key} would have to be there and not to be there"
        if Operator.IN in operators and not _values_left(lines):
            return f"no value of label {key} meets all its requirements"
    return None


def _values_left(lines: list[Requirement]) -> set[str]:
    wanted = [set(line.values) for line in lines if line.operator is Operator.IN]
    unwanted = [set(line.values) for line in lines if line.operator is Operator.NOT_IN]
    return set.intersection(*wanted).difference(*unwanted)


def _appliance_class(manifest: ApplianceClassManifest) -> ApplianceClass:
    spec = manifest.spec
    return ApplianceClass(
        name=manifest.metadata.name,
        controls=tuple(spec.controls),
        image=spec.image,
        format=spec.format,
        ruleset=spec.ruleset,
        memory_mib=spec.memory_mib,
        ready_within_s=float(spec.ready_within_seconds),
        rated_wires=spec.rated_wires,
    )


def _ruleset(manifest: RuleSetManifest) -> RuleSet:
    return RuleSet(name=manifest.metadata.name, text=manifest.spec.text, engine=manifest.spec.engine)


def to_manifest(value: Declared) -> dict[str, Any]:
    """The document that describes ``value``, every field written out."""
    if isinstance(value, GuestLabels):
        named = {"uuid" if is_uuid(value.guest) else "name": value.guest}
        return _document(GUEST, {**named, "labels": dict(value.labels)})
    return {**_document(kind_of(value), {"name": value.name}), "spec": _spec(value)}


def _document(kind: Kind, metadata: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": kind.name, "metadata": metadata}


def _spec(value: SecurityPolicy | ApplianceClass | RuleSet) -> dict[str, Any]:
    match value:
        case SecurityPolicy():
            return {
                "selector": _selector_manifest(value.selector),
                "priority": value.priority,
                "controls": list(value.controls),
                "onMissing": str(value.on_missing),
                "failurePolicy": str(value.failure_policy),
                "placement": str(value.placement),
                "handover": {"mode": str(value.handover.mode)},
            }
        case ApplianceClass():
            ruleset = {"ruleset": value.ruleset} if value.ruleset is not None else {}
            return {
                "controls": list(value.controls),
                "image": value.image,
                "format": str(value.format),
                **ruleset,
                "memoryMiB": value.memory_mib,
                "readyWithinSeconds": value.ready_within_s,
                "ratedWires": value.rated_wires,
            }
        case RuleSet():
            return {"engine": value.engine, "text": value.text}


def _selector_manifest(selector: Selector) -> dict[str, Any]:
    """``matchLabels`` where that says the same in the same order, ``matchExpressions`` otherwise."""
    simple = {r.key: r.values[0] for r in selector.requirements if r.operator is Operator.IN and len(r.values) == 1}
    if Selector.from_match_labels(simple) == selector:
        return {"matchLabels": simple} if simple else {}
    return {"matchExpressions": [_expression(requirement) for requirement in selector.requirements]}


def _expression(requirement: Requirement) -> dict[str, Any]:
    values = {"values": list(requirement.values)} if requirement.values else {}
    return {"key": requirement.key, "operator": str(requirement.operator), **values}
