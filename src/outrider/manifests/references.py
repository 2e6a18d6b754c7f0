"""References between declared objects: a policy's controls to classes that provide them, a class to its rule set.

A misspelt control would otherwise hold every guest of the policy for ever, waiting for an appliance that no class
can make. The check takes everything that would be declared after a change, so that applying and deleting share it.
"""

from collections.abc import Iterable

from outrider.domain.appliance import ApplianceClass
from outrider.domain.policy import SecurityPolicy
from outrider.domain.ruleset import RuleSet
from outrider.manifests.convert import Declared
from outrider.manifests.problems import Problem, allowed_text


def check_references(declared: Iterable[Declared]) -> tuple[Problem, ...]:
    """The problems of all references among ``declared`` (built-in classes included by the caller), best read first."""
    values = list(declared)
    classes = [value for value in values if isinstance(value, ApplianceClass)]
    controls = sorted({control for each in classes for control in each.controls})
    rulesets = sorted(value.name for value in values if isinstance(value, RuleSet))
    problems = []
    for value in values:
        if isinstance(value, SecurityPolicy):
            problems.extend(_unknown_controls(value, controls))
        elif isinstance(value, ApplianceClass) and value.ruleset is not None and value.ruleset not in rulesets:
            message = f"there is no RuleSet {value.ruleset!r}; {allowed_text(value.ruleset, rulesets)}"
            problems.append(Problem(f"ApplianceClass {value.name}", "spec.ruleset", message))
    return tuple(problems)


def _unknown_controls(policy: SecurityPolicy, known: list[str]) -> list[Problem]:
    return [
        Problem(
            f"SecurityPolicy {policy.name}",
            f"spec.controls[{index}]",
            f"no appliance class provides {control!r}; {allowed_text(control, known)}",
        )
        for index, control in enumerate(policy.controls)
        if control not in known
    ]
