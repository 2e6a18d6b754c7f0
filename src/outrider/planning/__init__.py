"""Deciding, as a pure function: ``plan(cluster state, now) → one intent per server``.

- ``cluster``: what a plan is made from (declared objects, observations, what earlier plans promised)
- ``ledger``: what plans promise and later plans must keep: paths with their lanes and keys, appliances, moves
- ``select``: which policy a guest falls under
- ``place``: which appliances a wire should go through, and why
- ``allocate``: lanes, tunnel keys, path ids, appliance names, none of them given twice
- ``handover``: how a wire gets from the path it has to the path it should have without losing a packet
- ``moves``: the records derived from what changed place
- ``plan``: the whole, in reading order
"""
