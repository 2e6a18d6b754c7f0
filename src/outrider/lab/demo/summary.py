"""The end of a demo on the screen: the same numbers as the report, in words that need no manual."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from outrider.lab.demo.report import duration_words, loss_words, step_rows
from outrider.lab.demo.result import DemoResult, losses_json
from outrider.lab.measure.accounting import PhaseAccount
from outrider.lab.measure.attack import AttackAccount

_PHASES_EXPLAINED = (
    "before: until {guest} ran on its new server; interim: its packets go back to the appliance it had; "
    "after: a new appliance beside it has proved itself and taken over. A packet and its answer count as two."
)


def print_summary(console: Console, result: DemoResult) -> None:
    """Print the tables and the verdict."""
    console.print()
    if result.phases:
        console.print(_packets(result))
        console.print(f"  [dim]{_PHASES_EXPLAINED.format(guest=escape(result.guest))}[/dim]", highlight=False)
        for row in losses_json(result.losses):
            console.print(f"  {row['packets']} lost: {escape(loss_words(row))}", highlight=False)
        console.print()
        console.print(_steps(result))
    _print_verdict(console, result)


def _packets(result: DemoResult) -> Table:
    table = Table(title="Every packet accounted for", title_justify="left", title_style="bold")
    table.add_column("phase")
    for heading in ("sent", "received", "lost", "twice", "uninspected"):
        table.add_column(heading, justify="right")
    table.add_column("inspected by", no_wrap=True)
    table.add_column("attacks stopped", justify="right")
    for phase in result.phases:
        table.add_row(f"{result.guest}, {phase.account.name}", *_cells(phase.account, phase.attacks))
    if second := result.second_guest:
        table.add_row(f"{second.guest}, throughout", *_cells(second.account, second.attacks))
    return table


def _cells(account: PhaseAccount, attacks: AttackAccount) -> list[str]:
    colour = "bold red" if account.uninspected else "green"
    stopped = f"{attacks.attempts - attacks.passed} of {attacks.attempts}"
    return [
        f"{account.sent:,}",
        f"{account.received:,}",
        f"{account.lost:,}",
        f"{account.duplicated:,}",
        f"[{colour}]{account.uninspected:,}[/{colour}]",
        "\n".join(f"{escape(name)}: {count:,}" for name, count in account.inspected_by.items()) or "none",
        f"[{'green' if attacks.blocked else 'bold red'}]{stopped}[/]",
    ]


def _steps(result: DemoResult) -> Table:
    table = Table(title="Steps of each move, from the moment its arrival was seen", title_justify="left")
    table.title_style = "bold"
    table.add_column("step")
    for move in result.moves:
        table.add_column(f"{move.guest}: {move.source} → {move.target}", justify="right")
    for row in step_rows(result.moves):
        cells = [duration_words(cell[1]) if cell else "not needed" for cell in row["cells"]]
        table.add_row(row["words"], *cells)
    table.add_row("guest away (ran nowhere)", *(duration_words(move.away_s) for move in result.moves))
    return table


def _print_verdict(console: Console, result: DemoResult) -> None:
    console.print()
    if failures := result.failures:
        console.print("[bold red]The demo did not show what it should:[/bold red]")
        for failure in failures:
            console.print(f"  {escape(failure)}", highlight=False)
        return
    delivered = sum(account.received for account in result.accounts)
    console.print(
        f"[bold green]0 of {delivered:,} delivered packets were uninspected[/bold green], "
        f"no attack arrived, no packet was lost to the switch, and nothing is left on this machine. "
        f"It took {result.seconds:.0f} s.",
        highlight=False,
    )
