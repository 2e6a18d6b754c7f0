"""What differs between engines: whether they inspect, and how they are started and told their rules.

An ``Engine`` holds no state; an appliance's story (``life``) asks it what to do for the format the class names.
"""

from dataclasses import dataclass
from enum import StrEnum

from outrider.appliances import bridge, suricata
from outrider.appliances.control import Control, ControlTrouble, LocalControl, SerialControl
from outrider.appliances.record import ApplianceFolder
from outrider.domain.appliance import ApplianceClass, ApplianceFormat
from outrider.domain.observation import Count
from outrider.domain.ruleset import RuleSet


class EngineName(StrEnum):
    """The images there are, each with its engine."""

    SURICATA_IPS = suricata.IMAGE
    BRIDGE_NULL = bridge.IMAGE


class UnknownImage(Exception):
    """An appliance class names an image that no engine is known for."""


@dataclass(frozen=True, slots=True)
class Engine:
    """One engine of an appliance. ``inspects``: it has rules, a canary among them, and can be talked to."""

    name: EngineName

    @classmethod
    def of(cls, appliance_class: ApplianceClass) -> "Engine":
        """Raises ``UnknownImage``."""
        try:
            return cls(EngineName(appliance_class.image))
        except ValueError:
            known = ", ".join(EngineName)
            raise UnknownImage(
                f"class {appliance_class.name}: there is no image {appliance_class.image!r} (there are: {known})"
            ) from None

    @property
    def inspects(self) -> bool:
        """True when it stops a canary; False for an engine that provides no control."""
        return self.name is EngineName.SURICATA_IPS

    def container_script(self, folder: ApplianceFolder, ruleset: RuleSet | None) -> str:
        """Write the engine's files into ``folder``; return the shell script that runs it on ``eth0`` and ``eth1``."""
        if self.inspects:
            return suricata.prepare_folder(folder.path, folder.engine_socket, ruleset)
        return bridge.container_script()

    def control(self, folder: ApplianceFolder, form: ApplianceFormat, within_s: float) -> Control | None:
        """The way to talk to it, each answer ``within_s``; None for an engine that has nothing to say."""
        if not self.inspects:
            return None
        if form is ApplianceFormat.VM:
            return SerialControl(folder.control_socket, within_s)
        return LocalControl(folder.engine_socket, folder.path / "outrider.rules", within_s)

    def digest(self, ruleset: RuleSet | None) -> str | None:
        """What is reported as the rules in force, once proved; None for an engine without rules."""
        return suricata.digest_of_rules(ruleset) if self.inspects else None

    def canary(self, ruleset: RuleSet | None) -> str | None:
        """The text that it must stop when it runs ``ruleset``."""
        return suricata.canary_token(suricata.digest_of_rules(ruleset)) if self.inspects else None

    def give_first_rules(self, folder: ApplianceFolder, ruleset: RuleSet | None, within_s: float) -> None:
        """Hand a booting VM its rules; returns when it has taken them, and its engine starts then.

        Raises ``ControlTrouble`` when it has not within ``within_s``. A second time only rewrites the rule file.
        """
        if self.inspects:
            SerialControl(folder.control_socket, within_s).store_rules(suricata.rules_text(ruleset))

    def check_rules(self, control: Control | None) -> None:
        """Raise ``ControlTrouble`` unless every rule was loaded."""
        if control is not None:
            suricata.check_rules(control)

    def change_rules(self, control: Control, wanted: RuleSet | None, former: RuleSet | None) -> None:
        """Have a running engine inspect by ``wanted``.

        Raises ``ControlTrouble`` when its rules do not all load; the engine has gone back to ``former`` then.
        """
        control.store_rules(suricata.rules_text(wanted))
        try:
            suricata.reload_rules(control)
        except ControlTrouble:
            control.store_rules(suricata.rules_text(former))
            suricata.reload_rules(control)
            raise

    def observe_counters(self, control: Control | None) -> dict[str, Count]:
        """The engine's own counts, by name; empty for one that counts nothing."""
        return suricata.observe_counters(control) if control is not None else {}
