"""Appliance classes and appliances (VSAs): what controls can be had, from what image, and how far one has got."""

from dataclasses import dataclass
from enum import StrEnum


class ApplianceFormat(StrEnum):
    """What an appliance runs as."""

    VM = "vm"
    CONTAINER = "container"


class ApplianceState(StrEnum):
    """How far an appliance has got. ``READY`` means *proved to inspect*, never merely booted."""

    REQUESTED = "requested"
    CREATING = "creating"
    PROVING = "proving"
    READY = "ready"
    FAILED = "failed"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class ApplianceClass:
    """What appliances of this class provide and are made from.

    ``image`` names a driver's image (``suricata-ips``, ``bridge-null``); ``memory_mib`` sizes a VM;
    ``ready_within_s`` bounds one attempt to create and prove; ``rated_wires`` is how many wires one appliance serves.
    """

    name: str
    controls: tuple[str, ...]
    image: str
    format: ApplianceFormat = ApplianceFormat.VM
    ruleset: str | None = None
    memory_mib: int = 256
    ready_within_s: float = 60.0
    rated_wires: int = 256


@dataclass(frozen=True, slots=True, order=True)
class ApplianceName:
    """An appliance's identity: unique in the cluster, and never used again after it is gone."""

    server: str
    appliance_class: str
    serial: int

    def __str__(self) -> str:
        return f"{self.appliance_class}-{self.server}-{self.serial}"
