"""``outrider bench``: what arming, switching and a detour through an appliance cost, on this machine, now.

Every figure is a ratio or a duration taken within one run, on parts that the run itself makes and removes: absolute
throughput says more about the machine than about Outrider. Beside the plain fabric ("direct") stands a hand-written
chain of the same shape without any tables ("static"): what it costs to take the detour at all, whoever sends packets
there. The difference between static and ours is what our tables cost.

Read in this order, one noun each:

- ``figure``, ``host``, ``printout``: what a figure is, what it was measured on, how it is shown
- ``bed``, ``outpost``: the namespaces everything happens in, and processes inside them that do what they are told
- ``steersman``, ``circuit``: a server's data path in an outpost; guests, appliances and wires for throughput
- ``static_chain``: the floor, with its program in ``static.bpf.c``
- one rig per figure: ``streams``, ``pingpong``, ``arming``, ``flood``, ``switching``, ``cold``, ``handover``
- ``rigs``, ``command``: which rig gives which figure, and the command line
"""

from typing import Any


def __getattr__(name: str) -> Any:
    """``app``, imported when asked for: outposts import this package too, and need no command line."""
    if name == "app":
        from outrider.lab.bench.command import app  # noqa: PLC0415 - see above

        return app
    raise AttributeError(name)
