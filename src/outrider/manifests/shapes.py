"""The shape of each manifest as pydantic models: types, bounds and names of fields, and nothing else.

Users meet these field names, so they are Kubernetes' way (camelCase). Unknown fields are refused, types are never
guessed (YAML's ``no`` is not the text "no"), and what the design promises but this version cannot do yet is refused
by name instead of being ignored: a policy that silently does less than it says would be a hole.
"""

import math
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from outrider.domain.appliance import ApplianceFormat
from outrider.domain.labels import Operator, check_label_key, check_label_value
from outrider.domain.names import check_name
from outrider.domain.policy import FailurePolicy, HandoverMode, OnMissing, Placement
from outrider.domain.wire import LAST_LANE, MAX_HOPS
from outrider.manifests.guest_labels import check_guest, is_uuid

INT32 = 2**31 - 1
MAX_MEMORY_MIB = 1 << 20
MAX_RULES_BYTES = 64 << 20


def _not_yet(*later: str) -> Callable[[Any], Any]:
    """A validator that refuses values the design knows and this version does not support."""

    def check(value: Any) -> Any:
        word = next(iter(value), None) if isinstance(value, dict) and len(value) == 1 else value
        if isinstance(word, str) and word in later:
            raise PydanticCustomError("not_yet", "not supported yet: {word}", {"word": word})
        return value

    return check


def _not_yet_at_all(value: Any) -> Any:
    if value is not None:
        raise PydanticCustomError("not_yet_field", "not supported yet: leave this field out")
    return value


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("must be a finite number")
    return value


def _no_repeats(values: list[str]) -> list[str]:
    repeated = sorted({value for value in values if values.count(value) > 1})
    if repeated:
        raise ValueError(f"{', '.join(repeated)} is listed more than once")
    return values


Name = Annotated[str, AfterValidator(check_name)]
GuestName = Annotated[str, AfterValidator(check_guest)]
LabelKey = Annotated[str, AfterValidator(check_label_key)]
LabelValue = Annotated[str, AfterValidator(check_label_value)]
Controls = Annotated[list[Name], Field(min_length=1, max_length=MAX_HOPS), AfterValidator(_no_repeats)]
NotSupported = Annotated[None, BeforeValidator(_not_yet_at_all)]


class Shape(BaseModel):
    """What all models share."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, alias_generator=to_camel)


class Metadata(Shape):
    """``metadata`` of all kinds but Guest."""

    name: Name


class ExpressionShape(Shape):
    """One line of ``matchExpressions``."""

    key: LabelKey
    operator: Annotated[Operator, Field(strict=False)]
    values: list[LabelValue] = []


class SelectorShape(Shape):
    """Both parts must hold; empty selects every guest."""

    match_labels: dict[LabelKey, LabelValue] = {}
    match_expressions: list[ExpressionShape] = []


class HandoverShape(Shape):
    """``drain`` (with ``deadlineSeconds``) comes later."""

    mode: Annotated[HandoverMode, Field(strict=False), BeforeValidator(_not_yet("drain"))] = HandoverMode.CUT
    deadline_seconds: NotSupported = None


class SecurityPolicySpec(Shape):
    """See ``outrider.domain.policy.SecurityPolicy``; ``selector`` must be written, if only as ``{}``."""

    selector: SelectorShape
    controls: Controls
    priority: Annotated[int, Field(ge=-INT32, le=INT32)] = 0
    on_missing: Annotated[OnMissing, Field(strict=False)] = OnMissing.RUN_NOW
    failure_policy: Annotated[FailurePolicy, Field(strict=False)] = FailurePolicy.FAIL_CLOSE
    placement: Annotated[Placement, Field(strict=False), BeforeValidator(_not_yet("pool"))] = Placement.LOCAL
    handover: HandoverShape = HandoverShape()
    offload: NotSupported = None


class ApplianceClassSpec(Shape):
    """See ``outrider.domain.appliance.ApplianceClass``."""

    controls: Controls
    image: Name
    format: Annotated[ApplianceFormat, Field(strict=False)] = ApplianceFormat.VM
    ruleset: Name | None = None
    memory_mib: Annotated[int, Field(alias="memoryMiB", ge=64, le=MAX_MEMORY_MIB)] = 256
    ready_within_seconds: Annotated[float, AfterValidator(_finite), Field(gt=0, le=3600)] = 60.0
    rated_wires: Annotated[int, Field(ge=1, le=LAST_LANE)] = 256


class RuleSetSpec(Shape):
    """Rules as inline ``text``; ``file`` is replaced by the file's text before this model is met."""

    engine: Literal["suricata"] = "suricata"
    text: Annotated[str, Field(max_length=MAX_RULES_BYTES)]


class GuestMetadata(Shape):
    """A guest is named by ``uuid`` or by ``name``."""

    name: GuestName | None = None
    uuid: str | None = None
    labels: dict[LabelKey, LabelValue]

    @model_validator(mode="after")
    def _is_named_once(self) -> "GuestMetadata":
        if (self.name is None) == (self.uuid is None):
            raise PydanticCustomError("one_name", "give either name or uuid")
        if self.uuid is not None and not is_uuid(self.uuid):
            raise PydanticCustomError(
                "uuid", "{uuid} is not a UUID in lower case with dashes", {"uuid": repr(self.uuid)}
            )
        return self


class Manifest(Shape):
    """What every document begins with. ``status`` is Outrider's to write: read back, it is ignored."""

    api_version: Literal["outrider.dev/v1"]
    status: Any = None


class SecurityPolicyManifest(Manifest):
    """A document of kind SecurityPolicy."""

    kind: Literal["SecurityPolicy"]
    metadata: Metadata
    spec: SecurityPolicySpec


class ApplianceClassManifest(Manifest):
    """A document of kind ApplianceClass."""

    kind: Literal["ApplianceClass"]
    metadata: Metadata
    spec: ApplianceClassSpec


class RuleSetManifest(Manifest):
    """A document of kind RuleSet."""

    kind: Literal["RuleSet"]
    metadata: Metadata
    spec: RuleSetSpec


class GuestManifest(Manifest):
    """A document of kind Guest: the labels it is given."""

    kind: Literal["Guest"]
    metadata: GuestMetadata


AnyManifest = SecurityPolicyManifest | ApplianceClassManifest | RuleSetManifest | GuestManifest
