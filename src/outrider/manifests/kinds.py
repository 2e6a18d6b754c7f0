"""The kinds of objects, with every name people call them by.

``get policy``, ``get policies``, ``get securitypolicies`` and ``GET /v1/policies`` must all mean the same; this table
is where each spelling is written once.
"""

from dataclasses import dataclass

API_VERSION = "outrider.dev/v1"


@dataclass(frozen=True, slots=True)
class Kind:
    """``name`` is the manifest's ``kind``, ``plural`` the API's path; ``declared`` kinds can be applied by users."""

    name: str
    plural: str
    aliases: tuple[str, ...]
    declared: bool


SECURITY_POLICY = Kind("SecurityPolicy", "policies", ("policy", "securitypolicy", "securitypolicies", "pol"), True)
APPLIANCE_CLASS = Kind("ApplianceClass", "applianceclasses", ("applianceclass", "class", "classes"), True)
RULE_SET = Kind("RuleSet", "rulesets", ("ruleset", "rules"), True)
GUEST = Kind("Guest", "guests", ("guest",), True)
SERVER = Kind("Server", "servers", ("server",), False)
APPLIANCE = Kind("Appliance", "appliances", ("appliance", "vsa", "vsas"), False)
WIRE = Kind("Wire", "wires", ("wire",), False)
MOVE = Kind("Move", "moves", ("move",), False)

KINDS = (SECURITY_POLICY, APPLIANCE_CLASS, RULE_SET, GUEST, SERVER, APPLIANCE, WIRE, MOVE)
DECLARED_KINDS = tuple(kind for kind in KINDS if kind.declared)


def kind_called(word: str) -> Kind:
    """The kind that ``word`` names (singular, plural or alias, any case); raises ``ValueError`` listing them."""
    wanted = word.lower()
    for kind in KINDS:
        if wanted in (kind.name.lower(), kind.plural, *kind.aliases):
            return kind
    raise ValueError(f"{word!r} is not a kind; allowed: {', '.join(kind.plural for kind in KINDS)}")
