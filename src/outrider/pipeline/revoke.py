"""Which rows must go before anything else is changed: those of a path that failed.

A handover never takes away a path that is active: the switch comes first, the old returns are removed by a later
intent. So a path that is active now and gone from the next table was given up because one of its appliances failed
its proof, and from this moment nothing that comes out of it may be marked (DESIGN 4.3, "Failure is the other way
round").
"""

from dataclasses import dataclass

from outrider.pipeline.table import KeyRow, LaneRow, SteeringTable


@dataclass(frozen=True, slots=True)
class Revoked:
    """Return rows to be removed first."""

    lanes: tuple[LaneRow, ...] = ()
    keys: tuple[KeyRow, ...] = ()


def find_revoked(before: SteeringTable, after: SteeringTable) -> Revoked:
    """The return rows of paths that are active in ``before`` and not there in ``after``."""
    kept = {path.id for path in after.paths}
    failed = {wire.active for wire in before.wires if wire.active is not None} - kept
    return Revoked(
        tuple(row for row in before.lanes if row.path in failed),
        tuple(row for row in before.keys if row.path in failed),
    )
