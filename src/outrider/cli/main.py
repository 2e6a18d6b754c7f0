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
from typing import Annotated, Any

import typer

from outrider import __version__
from outrider.cli import doctor, hook, images, inspect, objects, run
from outrider.cli.exits import CRASHED, FAILED, INTERRUPTED, OK, USAGE, CliError

LOG_DIR = Path("/var/log/outrider")

# Sub-commands with many words of their own, each a Typer ``app`` in a module imported when it is called.
LATER = {
    "lab": ("outrider.cli.lab", "A virtual infrastructure on this machine: up, down, status, run, migrate, …"),
    "demo": ("outrider.cli.demo", "Run the main job on a lab and report what happened to every packet."),
    "bench": ("outrider.lab.bench", "Measure this machine: arming, switching, throughput, latency."),
}

app = typer.Typer(
    name="outrider",
    help="Keeps a security appliance beside every guest VM, wherever the guest moves.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def version(output: Annotated[str, typer.Option("--output", "-o", help="text or json")] = "text") -> None:
    """Print the version."""
    print(f'{{"version": "{__version__}"}}' if output == "json" else f"outrider {__version__}")


for _command in (
    run.up, run.controller, run.agent,
    objects.apply, objects.delete, objects.get, objects.describe, objects.label,
    inspect.events, inspect.explain, inspect.trace, inspect.release,
    doctor.doctor, version,
):  # fmt: skip
    app.command()(_command)
app.add_typer(images.app, name="image")
app.add_typer(hook.app, name="hook")


def _declare_later(name: str, text: str) -> None:
    """Make ``name`` appear in ``--help``; ``main`` hands its words on before Typer would parse them."""

    @app.command(name, help=text)
    def later() -> None:
        raise CliError(USAGE, f"outrider {name} must come first on the command line")


for _name, (_, _text) in LATER.items():
    _declare_later(_name, _text)


def main() -> None:
    """Run the command line of this process, and end it."""
    sys.exit(run_command(sys.argv[1:]))


def run_command(arguments: list[str]) -> int:
    """Run one command line; returns its exit code. Errors are printed, not raised."""
    try:
        return _dispatch(arguments)
    except CliError as error:
        for line in error.lines:
            print(f"outrider: {line}", file=sys.stderr)
        return error.code
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        # The reader (head, less) has seen enough; Python must not complain of it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except Exception as error:
        if hasattr(error, "format_message") and hasattr(error, "exit_code"):
            print(f"outrider: {_usage_text(error)}", file=sys.stderr)
            return USAGE
        print(f"outrider: internal fault ({type(error).__name__}); {_keep_traceback(error)}", file=sys.stderr)
        return CRASHED


def _dispatch(arguments: list[str]) -> int:
    name = arguments[0] if arguments else ""
    if name in LATER:
        result = _load(name)(args=arguments[1:], prog_name=f"outrider {name}", standalone_mode=False)
    else:
        result = app(args=arguments, prog_name="outrider", standalone_mode=False)
    return result if isinstance(result, int) else OK


def _load(name: str) -> Any:
    module = LATER[name][0]
    try:
        return importlib.import_module(module).app
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise CliError(FAILED, f"this installation has no {name} (module {module})") from error


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
