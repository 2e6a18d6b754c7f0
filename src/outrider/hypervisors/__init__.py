"""The guests of one server, as its hypervisor tells: libvirt, and the lab's containers.

- ``description``: what a libvirt domain's XML says of a guest
- ``libvirt``: libvirt itself, watched and asked without ever blocking the agent
- ``containers``: the lab's containers, described by files in a directory
- ``announcements``: guests that the start hook spoke of before their hypervisor did
- ``combined``: several hypervisors as one
- ``hook``: the script that has a guest's ports armed before libvirt starts it
"""
