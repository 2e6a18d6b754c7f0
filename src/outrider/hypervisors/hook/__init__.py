"""The hook that has a guest's ports armed before libvirt starts it, and putting it in place.

``script.py`` is what libvirt runs: standard library only, no import of this project, quick to start. It goes into
``hooks/qemu.d`` beside whatever other hooks there are (libvirt ≥ 6.5 runs all of them), and its settings into a file
of its own. libvirt looks for hooks when its daemon starts: after the first installation the daemon must be restarted.
"""

import json
import os
from pathlib import Path

HOOK_NAME = "50-outrider"
SETTINGS_NAME = "outrider-hook.json"
DEFAULT_HOOKS = Path("/etc/libvirt/hooks")
DEFAULT_DEADLINE_S = 5.0
_SCRIPT = Path(__file__).with_name("script.py")
_SIGNATURE = "# installed by Outrider"


class HookRefused(Exception):
    """The hook cannot be put in place or taken away; the message says why."""


def _write(path: Path, text: str, mode: int) -> None:
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(text)
    fresh.chmod(mode)
    fresh.replace(path)


def is_installed(hooks: Path = DEFAULT_HOOKS) -> bool:
    """True when this very version of the hook is in place, with settings."""
    script = hooks / "qemu.d" / HOOK_NAME
    return script.is_file() and script.read_text() == _SCRIPT.read_text() and (hooks / SETTINGS_NAME).is_file()


def install_hook(agent_socket: Path, hooks: Path = DEFAULT_HOOKS, deadline_s: float = DEFAULT_DEADLINE_S) -> Path:
    """Put the hook in place, replacing an older one of ours; return the script's path.

    ``agent_socket`` is where the agent listens, ``deadline_s`` how long a start waits for it. Raises ``HookRefused``
    when something that is not ours has its name, or the directory cannot be written.
    """
    script = hooks / "qemu.d" / HOOK_NAME
    _refuse_foreign(script)
    try:
        script.parent.mkdir(parents=True, exist_ok=True)
        _write(hooks / SETTINGS_NAME, json.dumps({"socket": str(agent_socket), "deadline_s": deadline_s}) + "\n", 0o644)
        _write(script, _SCRIPT.read_text(), 0o755)
    except OSError as error:
        raise HookRefused(f"the libvirt hook cannot be installed: {error}") from None
    return script


def uninstall_hook(hooks: Path = DEFAULT_HOOKS) -> None:
    """Take our hook and its settings away, and nothing else; harmless when there is none."""
    script = hooks / "qemu.d" / HOOK_NAME
    _refuse_foreign(script)
    try:
        script.unlink(missing_ok=True)
        (hooks / SETTINGS_NAME).unlink(missing_ok=True)
    except OSError as error:
        raise HookRefused(f"the libvirt hook cannot be removed: {error}") from None


def _refuse_foreign(script: Path) -> None:
    if script.exists() and _SIGNATURE not in script.read_text(errors="replace"):
        raise HookRefused(f"{script} is not Outrider's: move it away first")
