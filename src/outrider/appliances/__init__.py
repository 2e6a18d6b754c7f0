"""Appliances of one server: made from images, proved to inspect, and retired without a trace.

Read in this order, one noun each:

- ``debian``, ``kernels``, ``initramfs``, ``images``: what a VM boots, built once and cached by content
- ``accelerator``: whether this machine can run a vCPU in hardware
- ``ports``: the two interfaces of an appliance
- ``engine``, ``suricata``, ``bridge``: what runs inside, and how it is told its rules
- ``machine``, ``container``: the two formats it runs as
- ``prove``: frames through it that show that it inspects
- ``record``, ``life``, ``local``: what an agent knows, one appliance's story, and the adapter that holds them all
"""
