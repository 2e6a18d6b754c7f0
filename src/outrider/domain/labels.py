"""Labels and selectors with Kubernetes' grammar, so that operators need not learn another.

Source: the Kubernetes documentation, "Labels and Selectors": a key is an optional DNS-subdomain prefix and
'/', then a name of at most 63 characters; a value is empty or such a name; ``In``, ``NotIn``, ``Exists`` and
``DoesNotExist`` are the operators, and all requirements of a selector must hold.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

Labels = Mapping[str, str]

_PART = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_PREFIX = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


def check_label_key(key: str) -> str:
    """Return ``key`` when Kubernetes would accept it; raise ``ValueError`` otherwise."""
    prefix, slash, name = key.rpartition("/")
    if slash and (len(prefix) > 253 or not _PREFIX.fullmatch(prefix)):
        raise ValueError(f"label key {key!r}: the part before '/' must be a DNS subdomain")
    if not _PART.fullmatch(name):
        raise ValueError(
            f"label key {key!r}: 1 to 63 letters, digits, '-', '_' or '.', beginning and ending with a letter or digit"
        )
    return key


def check_label_value(value: str) -> str:
    """Return ``value`` when Kubernetes would accept it; raise ``ValueError`` otherwise."""
    if value and not _PART.fullmatch(value):
        raise ValueError(
            f"label value {value!r}: empty, or up to 63 letters, digits, '-', '_' or '.', "
            "beginning and ending with a letter or digit"
        )
    return value


class Operator(StrEnum):
    """How a requirement compares a label with its values."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


@dataclass(frozen=True, slots=True)
class Requirement:
    """One line of ``matchExpressions``."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_label_key(self.key)
        for value in self.values:
            check_label_value(value)
        wants_values = self.operator in (Operator.IN, Operator.NOT_IN)
        if wants_values and not self.values:
            raise ValueError(f"operator {self.operator} needs at least one value")
        if not wants_values and self.values:
            raise ValueError(f"operator {self.operator} takes no values")

    def matches(self, labels: Labels) -> bool:
        """True when ``labels`` meet this requirement (``NotIn`` also holds where the key is absent)."""
        match self.operator:
            case Operator.IN:
                return labels.get(self.key) in self.values
            case Operator.NOT_IN:
                return labels.get(self.key) not in self.values
            case Operator.EXISTS:
                return self.key in labels
            case Operator.DOES_NOT_EXIST:
                return self.key not in labels


@dataclass(frozen=True, slots=True)
class Selector:
    """All requirements must hold; an empty selector selects everything."""

    requirements: tuple[Requirement, ...] = ()

    @classmethod
    def from_match_labels(cls, labels: Labels) -> "Selector":
        """The selector for which each of ``labels`` must be present with that value."""
        return cls(tuple(Requirement(k, Operator.IN, (v,)) for k, v in sorted(labels.items())))

    def matches(self, labels: Labels) -> bool:
        """True when every requirement holds for ``labels``."""
        return all(requirement.matches(labels) for requirement in self.requirements)
