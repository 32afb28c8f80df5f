"""An adapter whose connections pass through our hands before they are used, those through a proxy as well.

requests offers no way to its connections, urllib3 none to a new one: both keep only classes. So the maker of each pool
is wrapped, whatever its kind (plain, TLS, SOCKS).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from requests.adapters import HTTPAdapter

if TYPE_CHECKING:
    from collections.abc import Callable

    from urllib3.connection import HTTPConnection
    from urllib3.connectionpool import HTTPConnectionPool
    from urllib3.poolmanager import PoolManager


class PreparingAdapter(HTTPAdapter):
    """Has `prepare` look at every new connection, before it connects."""

    def __init__(self, prepare: Callable[[HTTPConnection], None], **settings: Any) -> None:
        self._prepare = prepare
        super().__init__(**settings)

    def init_poolmanager(self, *arguments: Any, **settings: Any) -> None:
        """See HTTPAdapter."""
        super().init_poolmanager(*arguments, **settings)
        self._reach_into(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **settings: Any) -> Any:
        """See HTTPAdapter."""
        known = proxy in self.proxy_manager
        manager = super().proxy_manager_for(proxy, **settings)
        if not known:
            self._reach_into(manager)
        return manager

    def _reach_into(self, manager: PoolManager) -> None:
        makers: dict[str, Any] = {
            scheme: _preparing(make, self._prepare) for scheme, make in manager.pool_classes_by_scheme.items()
        }
        manager.pool_classes_by_scheme = makers


def _preparing(
    make_pool: Callable[..., HTTPConnectionPool], prepare: Callable[[HTTPConnection], None]
) -> Callable[..., HTTPConnectionPool]:
    """A maker of pools whose connections are prepared."""

    def make(*place: Any, **settings: Any) -> HTTPConnectionPool:
        pool = make_pool(*place, **settings)
        connection_class: Any = pool.ConnectionCls

        def connection(**settings: Any) -> HTTPConnection:
            made: HTTPConnection = connection_class(**settings)
            prepare(made)
            return made

        pool.ConnectionCls = connection  # type: ignore[assignment]
        return pool

    return make
