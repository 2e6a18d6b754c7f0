"""A whole virtual infrastructure on one machine: the demo, the test bed, and the users' rehearsal room.

Each server is a set of namespaces with its own libvirt, guests and fabric bridge; agents, planner and programs are the
real ones, only the servers are small. ``lab.Lab`` is the way in; one file per noun beside it:

- ``paths``, ``record``: where a lab keeps its files, and what it writes down about itself
- ``holder``, ``processes``: namespaces and the processes in them, found again after any crash
- ``fabric``, ``server``, ``libvirt_daemon``: the switch, the servers, each server's own libvirt
- ``container``, ``machine``: the two formats of guests; ``arming``: the hook's request on behalf of a container
- ``measure``: instruments that know nothing of Outrider; ``demo``: the main job, shown; ``bench``: measurements
- ``remains``: what a lab left behind, and sweeping it away
"""
