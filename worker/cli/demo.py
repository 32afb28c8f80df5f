"""`worker demo`: the whole story on a local provider."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo")(demo)


def demo() -> None:
    """Play the whole story in half a minute."""
    raise typer.Exit(1)
