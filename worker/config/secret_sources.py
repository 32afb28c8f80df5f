"""All the places that a config names for its secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.config.model import Config
    from worker.config.secrets import SecretSource


def sources(config: Config) -> Iterator[SecretSource]:
    """Every secret's origin that the file names, the keyring's left out."""
    if config.store.source:
        yield config.store.source
    for integration in config.integrations.values():
        yield from integration.secrets.values()
    yield from (sink.credentials for sink in config.sinks.values() if sink.credentials)
    yield from (sink.url for sink in config.sinks.values() if sink.url and sink.url.kind != "literal")
    for notify in config.notify:
        yield from (source for source in (notify.url, notify.secret) if source)


def variables(config: Config) -> frozenset[str]:
    """The environment variables that hold a secret: what a program that needs none of them is started without."""
    found = (config.keyring.source, *sources(config))
    return frozenset(source.value for source in found if source.kind == "env")
