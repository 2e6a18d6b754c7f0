"""Network interfaces of one server, through netlink.

- ``rtnetlink``: the few messages that describe a link, decoded
- ``netlink``: watching links appear and change, and listing them
- ``tunnel``: the device that carries frames to other servers
"""

from outrider.links.netlink import NetlinkLinks
from outrider.links.tunnel import TunnelRefused

__all__ = ["NetlinkLinks", "TunnelRefused"]
