"""Instruments that know nothing of Outrider: what was sent, what was seen where, what arrived, what became of the rest.

- ``packetid``: packets with names; ``traffic`` sends and receives them, ``attack`` tries what must be stopped
- ``packetring``, ``capture``: every frame on every port of every server, with the kernel's own times
- ``places``: what the ports mean; ``accounting``: each packet's journey, and where a lost one ended (pure)
- ``sideprocess``: the processes all this runs in; ``instruments``: all of it together
"""
