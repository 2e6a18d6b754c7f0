"""The agent of one server: observe → apply → report, over and over.

- ``ports``: what it needs from the world, as protocols
- ``resolve``: which interface is whose (pure)
- ``arming``: which ports are armed, which were refused
- ``timeline``: when things were first seen so
- ``loop``: one look at everything and its correction
- ``connection``: the session with the controller
- ``control``: the local socket, for the libvirt hook and for operators whose controller is dead
- ``files``: the little that is kept on disk
"""
