"""The command line: which commands there are, and how every one of them ends.

Nothing but the words is imported before a command is known, so that ``outrider version`` and ``--help`` answer at
once. Errors are one sentence on standard error and an exit code (``outrider.cli.exits``); never a traceback.
"""

import importlib
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

import typer

from outrider import __version__
from outrider.cli.exits import CRASHED, FAILED, INTERRUPTED, OK, USAGE, CliError

LOG_DIR = Path("/var/log/outrider")

# Every command: (module, name in it, help when it is a group). A command is a function, a group a Typer ``app``.
COMMANDS: dict[str, tuple[str, str, str]] = {
    "up": ("outrider.cli.run", "up", ""),
    "controller": ("outrider.cli.run", "controller", ""),
    "agent": ("outrider.cli.run", "agent", ""),
    "apply": ("outrider.cli.objects", "apply", ""),
    "delete": ("outrider.cli.objects", "delete", ""),
    "get": ("outrider.cli.objects", "get", ""),
    "describe": ("outrider.cli.objects", "describe", ""),
    "label": ("outrider.cli.objects", "label", ""),
    "events": ("outrider.cli.inspect", "events", ""),
    "explain": ("outrider.cli.inspect", "explain", ""),
    "trace": ("outrider.cli.inspect", "trace", ""),
    "release": ("outrider.cli.inspect", "release", ""),
    "doctor": ("outrider.cli.doctor", "doctor", ""),
    "version": ("outrider.cli.version", "version", ""),
    "image": ("outrider.cli.images", "app", "Build what appliances boot from."),
    "hook": ("outrider.cli.hook", "app", "libvirt's start hook: install, uninstall."),
    "lab": ("outrider.cli.lab", "app", "A virtual infrastructure on this machine: up, down, run, migrate, …"),
    "demo": ("outrider.cli.demo", "app", "Run the main job on a lab and report what became of every packet."),
    "bench": ("outrider.lab.bench", "app", "Measure this machine: arming, switching, throughput, latency."),
}
RUN_AT_ONCE = ("demo", "bench")  # groups that do something without further words


def main() -> None:
    """Run the command line of this process, and end it."""
    sys.exit(run_command(sys.argv[1:]))


def run_command(arguments: list[str]) -> int:
    """Run one command line; returns its exit code. Errors are printed, not raised."""
    try:
        return _dispatch(arguments)
    except CliError as error:
        return _complain(error.code, *error.lines)
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except (BrokenPipeError, SystemExit) as end:
        return _code_of_end(end)
    except Exception as error:
        return _code_of_fault(error)


def _complain(code: int, *lines: str) -> int:
    for line in lines:
        print(f"outrider: {line}", file=sys.stderr)
    return code


def _code_of_end(end: BaseException) -> int:
    """Whoever read our output (head, less) may have seen enough: no error of ours, and nothing to write at exit.

    Typer's own answer to a ``BrokenPipeError`` is to exit with 1.
    """
    if isinstance(end, BrokenPipeError) or isinstance(end.__context__, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return OK
    return end.code if isinstance(end, SystemExit) and isinstance(end.code, int) else FAILED


def _code_of_fault(error: Exception) -> int:
    """Typer's usage errors know how to say themselves; anything else is a fault of Outrider."""
    if hasattr(error, "format_message") and hasattr(error, "exit_code"):
        return _complain(USAGE, _usage_text(error))
    return _complain(CRASHED, f"internal fault ({type(error).__name__}); {_keep_traceback(error)}")


def _dispatch(arguments: list[str]) -> int:
    """Only the command that is asked for is imported and built; all of them are for a list of them."""
    name = arguments[0] if arguments else "--help"
    if name in COMMANDS:
        words = arguments[1:] or (["--help"] if COMMANDS[name][2] and name not in RUN_AT_ONCE else [])
        result = _command(name)(args=words, prog_name=f"outrider {name}", standalone_mode=False)
    else:
        result = _overview()(args=arguments or [name], prog_name="outrider", standalone_mode=False)
    sys.stdout.flush()
    return result if isinstance(result, int) else OK


def _command(name: str) -> Any:
    """The Typer application that is one command or group."""
    module, attribute, group_help = COMMANDS[name]
    found = getattr(_load(name, module), attribute)
    if group_help:
        return found
    alone = _typer(add_completion=False)
    alone.command(name)(found)
    return alone


def _load(name: str, module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise CliError(FAILED, f"this installation has no {name} (module {module})") from error


def _overview() -> typer.Typer:
    """All commands in one application, for ``--help``, completion and what is misspelt."""
    app = _typer(help="Keeps a security appliance beside every guest VM, wherever the guest moves.")
    for name, (module, attribute, group_help) in COMMANDS.items():
        if group_help:
            app.command(name, help=group_help)(_nothing)
        else:
            app.command(name)(getattr(_load(name, module), attribute))
    return app


def _nothing() -> None:
    """Stands for a group in the overview; ``_dispatch`` hands a group's words to the group itself."""


def _typer(**options: Any) -> typer.Typer:
    return typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, **options)


def _usage_text(error: Any) -> str:
    """A usage error as one sentence, and where help is to be had."""
    text = " ".join(str(error.format_message()).split())
    context = getattr(error, "ctx", None)
    return f"{text} (see {context.command_path} --help)" if context is not None else text


def _keep_traceback(error: Exception) -> str:
    """Write the traceback to a file; returns where it is, in words."""
    text = "".join(traceback.format_exception(error))
    name = f"crash-{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}.log"
    for directory in (LOG_DIR, Path(tempfile.gettempdir())):
        try:
            directory.mkdir(parents=True, exist_ok=True)
            file = directory / name
            file.write_text(f"outrider {__version__}\n{' '.join(sys.argv)}\n{text}")
        except OSError:
            continue  # the next place may be writable; without any the caller still learns the error's name
        return f"please report it with {file}"
    return "its traceback could not be kept"


if __name__ == "__main__":
    main()
