"""The same story on a terminal: lines that stay, and below them a table of the accounts that is alive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.padding import Padding
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from worker.cli.demo_story.folder import INTEGRATION, KEYS
from worker.cli.demo_story.narrator import INDENT, Narrator, heading

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TextIO

    from rich.console import RenderableType

    from worker.cli.demo_story.progress import AccountProgress, Progress

_STATES = {"active": "green", "needs_consent": "bold red"}
_REFRESHES_A_SECOND = 8
#: Columns that the tables need with all of theirs.
_WIDE = 96
_WORDS = ("account", "state")


class LiveNarrator(Narrator):
    """Tells the story to a person who watches."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._console = Console(file=stream, highlight=False)
        self._spinner = Spinner("dots", style="cyan")
        self._title = self._waiting = ""
        self._progress: Progress | None = None
        self._live = Live(
            console=self._console,
            get_renderable=self._alive,
            refresh_per_second=_REFRESHES_A_SECOND,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()

    def opening(self, title: str, text: str) -> None:
        """See Narrator."""
        self._console.print(Text(title, style="bold"))
        self._console.print(Text(text, style="dim"))

    def step(self, title: str) -> None:
        """See Narrator."""
        self._title = self._waiting = title
        self._console.print(Text.assemble("\n", (f"{self.seconds:5.1f} s  ", "dim"), (title, "bold")))

    def command(self, line: str) -> None:
        """See Narrator."""
        self._hang("$", Text(line, style="cyan"), "dim")

    def fact(self, text: str) -> None:
        """See Narrator."""
        self._waiting = self._title
        self._hang(self.tick, Text(text), "bold green")

    def note(self, text: str) -> None:
        """See Narrator."""
        self._hang(" ", Text(text, style="dim"), "")

    def alarm(self, name: str, text: str) -> None:
        """See Narrator."""
        self._hang("!", Text.assemble((f"{name:<10}", "bold"), text), "bold red")

    def link(self, url: str) -> None:
        """See Narrator. The terminal breaks the line, not we: it is copied whole."""
        self._console.print(Text(url, style=f"blue underline link {url}"), soft_wrap=True)

    def failure(self, text: str, details: Sequence[str]) -> None:
        """See Narrator."""
        self._hang(self.cross, Text(text, style="red"), "bold red")
        for line in details:
            self._hang(" ", Text(line, style="dim"), "")

    def closing(self, title: str, columns: Sequence[str], rows: Sequence[Mapping[str, object]]) -> None:
        """See Narrator."""
        self.close()
        narrow = self._console.width < _WIDE
        table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 1 if narrow else 2, 0, 0))
        shown = [name for name in columns if name != "state" or not narrow]
        for name in shown:
            table.add_column(heading(name).replace(" ", "\n"), justify="left" if name in _WORDS else "right")
        for row in rows:
            cells = [Text(str(row[name]), style=_STATES.get(str(row[name]), "")) for name in shown]
            table.add_row(*cells, style="bold" if row is rows[-1] else "")
        self._console.print(Text(f"\n{title}", style="bold"))
        self._console.print(table)

    def ending(self, text: str, *, good: bool) -> None:
        """See Narrator."""
        self.close()
        self._console.print(
            Text(f"\n{self.tick if good else self.cross} {text}", style="bold green" if good else "bold red")
        )

    def waiting(self, text: str) -> None:
        """See Narrator."""
        self._waiting = text

    def show(self, progress: Progress) -> None:
        """See Narrator."""
        self._progress = progress

    def close(self) -> None:
        """See Narrator."""
        self._live.stop()

    def _hang(self, mark: str, text: Text, style: str) -> None:
        """A marked line whose continuation stands under its text."""
        line = Table.grid(padding=(0, 1, 0, 0))
        line.add_column(width=1)
        line.add_column()
        line.add_row(Text(mark, style=style), text)
        self._console.print(Padding(line, (0, 0, 0, len(INDENT))))

    def _alive(self) -> RenderableType:
        parts: list[RenderableType] = [Text("")]
        if self._progress is not None:
            parts += [_accounts(self._progress, with_last=self._console.width >= _WIDE), Text("")]
        doing = f"{self.seconds:4.1f} s  {self._waiting}"
        self._spinner.update(text=Text(_cut(doing, self._console.width - 2), style="dim"))
        return Group(*parts, self._spinner)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _accounts(progress: Progress, *, with_last: bool) -> Table:
    """The accounts as they are now. Rows are shown as `in the sink/at the source`."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("ACCOUNT")
    table.add_column("STATE", min_width=len("needs_consent"))
    table.add_column("GEN", justify="right")
    table.add_column("REFRESHED", justify="right")
    table.add_column("RUNS", justify="right")
    table.add_column("SKIPPED", justify="right")
    table.add_column("ROWS", justify="right", min_width=len("000/000"))
    if with_last:
        table.add_column("LAST", no_wrap=True)
    for name, account in progress.accounts.items():
        table.add_row(*_cells(name, account, progress)[: len(table.columns)])
    return table


def _cells(name: str, account: AccountProgress, progress: Progress) -> list[Text]:
    cells = [
        Text(f"{INTEGRATION}/{name}", style="bold"),
        Text(account.state, style=_STATES.get(account.state, "")),
        Text(str(account.generation or "-")),
        Text(str(account.refreshes)),
        Text(str(account.runs["succeeded"])),
        Text(str(account.runs["skipped"]), style="red" if account.runs["skipped"] else "dim"),
    ]
    there = sum(progress.sink.get((name, collection), 0) for collection in KEYS)
    wanted = sum(progress.source.values())
    cells.append(Text(f"{there}/{wanted}", style="" if there == wanted else "yellow"))
    cells.append(Text(account.last, style="dim"))
    return cells
