"""The control operations as methods, whichever way they are carried out.

`Sandbox` calls them in its own process, `SandboxControl` requests them from another one; both give the same results.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


class ControlMethods(ABC):
    """The operations as methods; a subclass says how one is carried out."""

    @abstractmethod
    def call(self, operation: str, **arguments: object) -> dict[str, Any]:
        """Carry out one operation; `BadControl` when it makes no sense."""

    def stats(self) -> dict[str, Any]:
        """The counters, and what is true now: active grants by user, rows by collection, planned faults."""
        return self.call("stats")

    def reset_stats(self) -> None:
        """Set the counters to zero; grants and rows stay."""
        self.call("reset_stats")

    def settings(self) -> dict[str, Any]:
        """What `set` may change, as it is now (without the client secret)."""
        return self.call("settings")

    def set(self, **settings: object) -> dict[str, Any]:
        """Change settings (see `settings.Settings`); answers all of them."""
        return self.call("set", **settings)

    def grant(self, user: str, scopes: Sequence[str] | None = None) -> dict[str, Any]:
        """A consented grant without the consent page: `access_token`, `refresh_token`, `expires_in`, `scopes`."""
        return self.call("grant", user=user, **({} if scopes is None else {"scopes": list(scopes)}))

    def revoke(self, user: str) -> int:
        """End every grant of a user, as an administrator at the provider would; how many there were."""
        return int(self.call("revoke", user=user)["revoked"])

    def expire(self, user: str = "all") -> int:
        """Let access tokens die now while the client believes them alive; how many died."""
        return int(self.call("expire", user=user)["expired"])

    def advance(self, seconds: float) -> None:
        """Push the sandbox's clock forward (its Date header too)."""
        self.call("advance", seconds=seconds)

    def fault(self, where: str, kind: str, times: int = 1, **options: object) -> None:
        """Plan a fault (see `faults.Fault` for kinds and options)."""
        self.call("fault", where=where, kind=kind, times=times, **options)

    def clear_faults(self) -> int:
        """Forget planned faults; how many there were."""
        return int(self.call("clear_faults")["cleared"])

    def rows(self, collection: str) -> list[dict[str, str]]:
        """Every row of a collection as name and text, in the order of their numbers."""
        return list(self.call("rows", collection=collection)["rows"])

    def touch(
        self,
        collection: str,
        count: int = 1,
        *,
        numbers: Sequence[int] | None = None,
        equal: bool = False,
        late: float = 0.0,
    ) -> list[int]:
        """Change `count` rows drawn by the seed, or these; their numbers.

        Each gets a timestamp of its own, one tick after the other (so hundreds share a millisecond, which is as far
        as a filter sees); `equal` gives all the same. The change shows `late` seconds after its timestamp. An order
        line's change is one of its order.
        """
        return self._rows_changed("touch", collection, count, numbers, equal=equal, late=late)

    def insert(
        self, collection: str, count: int = 1, *, equal: bool = False, late: float = 0.0, owner: int | None = None
    ) -> list[int]:
        """New rows; their numbers. `owner`: the order that new lines belong to."""
        chosen = {} if owner is None else {"owner": owner}
        return self._rows_changed("insert", collection, count, None, equal=equal, late=late, **chosen)

    def delete(self, collection: str, count: int = 1, *, numbers: Sequence[int] | None = None) -> list[int]:
        """Remove `count` rows drawn by the seed, or these; their numbers."""
        return self._rows_changed("delete", collection, count, numbers)

    def merge(
        self, source: int | None = None, destination: int | None = None, *, renew: bool = False
    ) -> dict[str, int]:
        """Merge a contact into another, or two that the seed draws: `source`, `destination`, number of the `request`.

        `renew`: registrations and orders that change hands count as modified.
        """
        chosen = {} if source is None or destination is None else {"source": source, "destination": destination}
        return self.call("merge", renew=renew, **chosen)

    def _rows_changed(
        self, operation: str, collection: str, count: int, numbers: Sequence[int] | None, **options: object
    ) -> list[int]:
        chosen = {} if numbers is None else {"numbers": list(numbers)}
        return list(self.call(operation, collection=collection, count=count, **chosen, **options)["numbers"])
