"""What users declared, kept in a store: all or nothing, and never on a check that is out of date."""

import asyncio

import pytest

from outrider.domain.ruleset import RuleSet
from outrider.manifests.guest_labels import GuestLabels
from outrider.manifests.kinds import GUEST, RULE_SET
from outrider.store.contract import StoreError
from outrider.store.declared import PREFIX, DeclaredChanged, DeclaredObjects
from outrider.store.memory import MemoryStore

RULES = RuleSet("r", "drop ip any any -> any any (sid:1;)")
LABELS = GuestLabels("gäst mit Namen", {"a": "b"})


async def test_what_is_declared_is_read_back() -> None:
    declared = DeclaredObjects(MemoryStore())
    after = await declared.change([RULES, LABELS], [], (await declared.read()).revision)
    assert RULES in after.values and LABELS in after.values
    assert after.find(GUEST, "gäst mit Namen") == LABELS
    assert (await declared.change([], [(RULE_SET, "r")], after.revision)).values == (LABELS,)


async def test_a_change_checked_against_the_past_is_refused() -> None:
    declared = DeclaredObjects(MemoryStore())
    seen = (await declared.read()).revision
    await declared.change([RULES], [], seen)
    with pytest.raises(DeclaredChanged):
        await declared.change([LABELS], [], seen)
    assert (await declared.read()).values == (RULES,)


async def test_a_watcher_sees_the_latest_even_after_history_was_forgotten() -> None:
    store = MemoryStore(history=3)
    declared = DeclaredObjects(store)
    watch = declared.watch()
    async with asyncio.timeout(10):
        assert (await anext(watch)).values == ()
        await declared.change([RULES], [], 0)
        assert (await anext(watch)).values == (RULES,)
        for number in range(10):
            await store.put("/elsewhere", b"%d" % number)
        await declared.change([LABELS], [], (await declared.read()).revision)
        for number in range(10):
            await store.put("/elsewhere", b"%d" % number)
        assert set(map(type, (await anext(watch)).values)) == {RuleSet, GuestLabels}


async def test_a_row_that_cannot_be_read_is_named() -> None:
    store = MemoryStore()
    await store.put(f"{PREFIX}RuleSet/r", b"{}")
    with pytest.raises(StoreError, match=r"cannot be read: /outrider/declared/RuleSet/r"):
        await DeclaredObjects(store).read()
