"""Outrider keeps a security appliance beside every guest VM, wherever the guest moves."""

__version__ = "0.1.0"
