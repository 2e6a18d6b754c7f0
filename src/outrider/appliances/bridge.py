"""The appliance that inspects nothing: a two-port bridge, for tests of everything around an engine.

It must not learn: the guests behind one appliance send the same addresses in from both sides, and a bridge that
remembers where it saw an address would send such a frame back or nowhere. It knows nothing of tags, and lets through
what a bridge would keep to itself (link-local groups), since a guest's packets are not its own.
"""

IMAGE = "bridge-null"

_GROUPS_FORWARDED = 0xFFF8  # 01-80-C2-00-00-03 … -0F; the kernel refuses to have a bridge pass 00, 01 and 02


def container_script() -> str:
    """The shell script that makes the bridge of ``eth0`` and ``eth1`` and then keeps its namespace alive."""
    return (
        f"ip link add name lane type bridge stp_state 0 mcast_snooping 0 group_fwd_mask {_GROUPS_FORWARDED}\n"
        "silence_ipv6 lane\n"
        "ip link set dev lane up\n"
        "for port in eth0 eth1; do\n"
        "  ip link set dev $port up\n"
        "  ip link set dev $port master lane\n"
        "  bridge link set dev $port learning off flood on mcast_flood on\n"
        "done\n"
        "exec sleep infinity\n"
    )
