"""The routes that the configuration describes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from worker.errors import Misconfigured, StoreUnusable, TryAgainLater
from worker.notify.apprise_url import AppriseUrl
from worker.notify.command import Command
from worker.notify.route import Route
from worker.notify.webhook import Webhook
from worker.store.notifications import Addressee

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from worker.clock import Clock
    from worker.config.model import Config, NotifyConfig
    from worker.notify.route import Way
    from worker.redact import Scrubber, Secret

#: Under what a webhook's signing secret is kept in the store, with the route's name. No integration is called so.
SIGNING = "[[notify]]"


@dataclass(frozen=True)
class Surroundings:
    """What routes need besides their configuration."""

    config: Config
    environ: Mapping[str, str]
    scrubber: Scrubber
    clock: Clock
    user_agent: str
    #: A route's name -> its signing secret in the encrypted store.
    stored_secret: Callable[[str], Secret | None]


def make_routes(around: Surroundings) -> list[Route]:
    """One route for each `[[notify]]`. No secret is read yet."""
    return [_route(item, around) for item in around.config.notify]


def _route(item: NotifyConfig, around: Surroundings) -> Route:
    signing = _Signing(partial(signing_secret, item, around)) if item.webhook is not None and item.sign else None
    takes = Addressee(item.name, item.events, item.integrations)
    return Route(takes, _way(item, around, signing), item.remind, item.mark, signing)


class _Signing:
    """A webhook's secret: read anew each time, for it may have been changed; as it was, while the store is broken."""

    def __init__(self, read: Callable[[], Secret]) -> None:
        self._read = read
        self._last: Secret | None = None

    def __call__(self) -> Secret:
        try:
            self._last = self._read()
        except (StoreUnusable, TryAgainLater):
            if self._last is None:
                raise
        return self._last


def _way(item: NotifyConfig, around: Surroundings, signing: _Signing | None) -> Way:
    if item.webhook is not None:
        return Webhook(item.webhook, signing, around.clock, around.user_agent)
    if item.command is not None:
        return Command(item.command, around.environ, around.config.base_dir, around.scrubber)
    source = item.url
    assert source is not None
    return AppriseUrl(lambda: source.read(around.environ, around.config.base_dir), around.scrubber)


def signing_secret(item: NotifyConfig, around: Surroundings) -> Secret:
    """What signs a webhook's messages: from the config's source, else from the store. Raises Misconfigured."""
    if item.secret is not None:
        found: Secret | None = item.secret.read(around.environ, around.config.base_dir)
    else:
        found = around.stored_secret(item.name)
    if found is None:
        raise Misconfigured(
            f"the route {item.name} has no secret to sign with",
            hint=f'worker notify secret "{item.name}"; or sign = false',
        )
    around.scrubber.learn(found)
    return found
