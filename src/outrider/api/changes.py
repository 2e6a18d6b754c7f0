"""Changing what is declared: checked as a whole, made in one transaction or not at all.

A change is judged by the problems it would *add*: an object that was already in trouble must not keep people from
mending another. Whoever changes something at the same moment is noticed, and the check is made again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from outrider.api.state import ApiState, Row
from outrider.domain.policy import SecurityPolicy
from outrider.manifests.builtin import with_builtins
from outrider.manifests.convert import Declared, from_manifest, kind_of, to_manifest
from outrider.manifests.guest_labels import GuestLabels
from outrider.manifests.kinds import GUEST, Kind
from outrider.manifests.problems import ManifestError, Problem
from outrider.manifests.references import check_references
from outrider.store.declared import Declarations, DeclaredChanged

ATTEMPTS = 20

Key = tuple[Kind, str]


class NotDeclared(Exception):
    """There is no such object; the message says which."""


class StillNeeded(Exception):
    """A deletion that would leave a reference without its object; the message names both."""


class Busy(Exception):
    """Others kept changing what is declared, ``ATTEMPTS`` times over."""


@dataclass(frozen=True, slots=True)
class Change:
    """What was (or, in a dry run, would be) done: (object, created | configured | unchanged | deleted) each."""

    results: tuple[tuple[Kind, str, str], ...]
    warnings: tuple[str, ...] = field(default=())

    def as_json(self) -> dict[str, Any]:
        """The API's answer."""
        items = [{"kind": kind.name, "name": name, "result": result} for kind, name, result in self.results]
        return {"items": items, "warnings": list(self.warnings)}


async def apply_values(state: ApiState, values: Sequence[Declared], dry_run: bool = False) -> Change:
    """Declare ``values``, all or none. Raises ``ManifestError`` for references that lead nowhere, or ``Busy``."""
    _check_named_once(values)
    for _ in range(ATTEMPTS):
        before = await state.declared.read()
        results = tuple(_result_of(before, value) for value in values)
        changed = [value for value, result in zip(values, results, strict=True) if result[2] != "unchanged"]
        problems = _new_problems(before.values, _merged(before, changed, ()))
        if problems:
            raise ManifestError(problems)
        try:
            if changed and not dry_run:
                await state.declared.change(changed, (), before.revision)
        except DeclaredChanged:
            continue
        return Change(results, tuple(_warnings(values, await state.rows("guests"))))
    raise Busy("others keep changing what is declared; try again")


async def delete_keys(state: ApiState, keys: Sequence[Key], dry_run: bool = False) -> Change:
    """Delete objects, all or none. Raises ``NotDeclared``, ``StillNeeded`` or ``Busy``."""
    for _ in range(ATTEMPTS):
        before = await state.declared.read()
        for kind, name in keys:
            if before.find(kind, name) is None:
                raise NotDeclared(f"there is no {kind.name} {name!r} to delete")
        problems = _new_problems(before.values, _merged(before, (), keys))
        if problems:
            raise StillNeeded(f"cannot be deleted while it is needed: {problems[0]}")
        try:
            if keys and not dry_run:
                await state.declared.change((), keys, before.revision)
        except DeclaredChanged:
            continue
        return Change(tuple((kind, name, "deleted") for kind, name in keys))
    raise Busy("others keep changing what is declared; try again")


async def patch_labels(state: ApiState, guest: str, changes: Mapping[str, str | None]) -> Change:
    """Set and (None) remove labels of one guest, leaving its others. Raises ``ManifestError`` or ``Busy``."""
    for _ in range(ATTEMPTS):
        before = await state.declared.read()
        known = before.find(GUEST, guest)
        labels = {**(known.labels if isinstance(known, GuestLabels) else {}), **changes}
        kept = {key: value for key, value in labels.items() if value is not None}
        # Through the manifest, so that the grammar of keys and values is checked in one place.
        value = from_manifest(to_manifest(GuestLabels(guest, kept)))
        result = _result_of(before, value)
        try:
            if result[2] != "unchanged":
                await state.declared.change([value], (), before.revision)
        except DeclaredChanged:
            continue
        return Change((result,), tuple(_warnings([value], await state.rows("guests"))))
    raise Busy("others keep changing what is declared; try again")


def _check_named_once(values: Sequence[Declared]) -> None:
    keys = [(kind_of(value).name, value.name) for value in values]
    repeated = sorted({f"{kind} {name!r}" for kind, name in keys if keys.count((kind, name)) > 1})
    if repeated:
        raise ManifestError([Problem("request", "metadata.name", f"{repeated[0]} is given twice")])


def _result_of(before: Declarations, value: Declared) -> tuple[Kind, str, str]:
    kind = kind_of(value)
    known = before.find(kind, value.name)
    result = "created" if known is None else "unchanged" if known == value else "configured"
    return kind, value.name, result


def _merged(before: Declarations, put: Sequence[Declared], delete: Sequence[Key]) -> list[Declared]:
    replaced = {(kind_of(value), value.name) for value in put} | set(delete)
    return [value for value in before.values if (kind_of(value), value.name) not in replaced] + list(put)


def _new_problems(before: Sequence[Declared], after: Sequence[Declared]) -> list[Problem]:
    known = check_references(with_builtins(before))
    # The list of what is allowed differs between the two, so problems are compared by where they are.
    places = {(problem.origin, problem.field) for problem in known}
    return [p for p in check_references(with_builtins(after)) if (p.origin, p.field) not in places]


def _warnings(values: Sequence[Declared], guests: Sequence[Row]) -> list[str]:
    """What is valid and may still be a mistake: nothing here matches anything known now."""
    warnings: list[str] = []
    if not guests:
        return warnings  # before the first server reports, nothing could match
    names = {str(row[key]) for row in guests for key in ("name", "uuid")}
    count = len({row["uuid"] for row in guests})
    for value in values:
        if isinstance(value, SecurityPolicy) and not any(value.selector.matches(row["labels"]) for row in guests):
            warnings.append(f"SecurityPolicy {value.name} selects none of the {count} guests known now")
        if isinstance(value, GuestLabels) and value.guest not in names:
            warnings.append(f"no server knows a guest {value.guest!r} yet; it gets its labels when one appears")
    return warnings
