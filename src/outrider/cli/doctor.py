"""``outrider doctor``: can this machine do it, and if not, what is to be done.

It changes nothing: what must be tried is tried in a namespace that is gone a moment later.
"""

from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from typing import Annotated, Any

import typer

from outrider.cli.checkup import Check, Finding, Verdict
from outrider.cli.exits import FAILED, OK
from outrider.cli.output import Format, FormatOption, print_data


def doctor(
    port: Annotated[
        list[str] | None, typer.Option("--port", metavar="INTERFACE", help="Also look who has programs on this port.")
    ] = None,
    underlay: Annotated[
        str | None, typer.Option(metavar="INTERFACE", help="The interface towards the other servers.")
    ] = None,
    output: FormatOption = Format.TABLE,
) -> int:
    """Check whether this machine can run Outrider, and say what to do where it cannot."""
    findings = list(_findings(port or [], underlay))
    if output in (Format.JSON, Format.YAML):
        print_data({"items": [asdict(finding) | {"verdict": finding.verdict.value} for finding in findings]}, output)
    else:
        _print_findings(findings)
    return FAILED if any(finding.verdict is Verdict.FAIL for finding in findings) else OK


def _findings(ports: list[str], underlay: str | None) -> Iterator[Finding]:
    from outrider.cli import checks_host as host  # noqa: PLC0415 - nobody else needs them
    from outrider.cli import checks_kernel as kernel  # noqa: PLC0415

    checks: list[tuple[str, Check]] = [
        ("root", kernel.check_root),
        ("kernel", kernel.check_kernel),
        ("bpf", kernel.check_bpf),
        ("hooks", kernel.check_hooks),
        ("network namespaces", kernel.check_network_namespaces),
        ("tunnel", kernel.check_tunnel),
        ("underlay", partial(host.check_underlay, underlay)),
        ("programs", host.check_programs),
        ("libvirt", host.check_libvirt),
        ("libvirt hook", host.check_hook),
        ("accelerator", host.check_accelerator),
        ("memory", host.check_memory),
        ("disk", host.check_disk),
    ]
    for name, check in checks:
        yield _careful(name, check)
    for port in ports:
        yield from kernel.check_port(port)


def _careful(name: str, check: Check) -> Finding:
    """A check that itself breaks is a finding too, and must not hide the others."""
    try:
        return check()
    except Exception as error:
        return Finding(
            name, Verdict.FAIL, f"the check itself failed: {type(error).__name__}: {error}", "please report it"
        )


_COLOURS: dict[Verdict, Any] = {Verdict.OK: "green", Verdict.WARN: "yellow", Verdict.FAIL: "red"}


def _print_findings(findings: list[Finding]) -> None:
    from rich.console import Console  # noqa: PLC0415 - rich is slow to import
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        text = Text(finding.found)
        if finding.advice:
            text.append(f"\n→ {finding.advice}", style="dim")
        table.add_row(Text(finding.verdict.value, style=_COLOURS[finding.verdict]), finding.name, text)
    Console(highlight=False).print(table)
