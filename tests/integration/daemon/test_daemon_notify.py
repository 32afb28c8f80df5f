"""What systemd is told, on a real datagram socket (sd_notify(3))."""

from __future__ import annotations

import secrets
import signal
import socket
from contextlib import closing

import pytest


@pytest.fixture
def manager(tmp_path):
    """A socket as systemd's, and its address as the environment has it."""
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as listening:
        address = str(tmp_path / "notify")
        listening.bind(address)
        listening.settimeout(90)
        yield listening, address


def hear(listening, wanted):
    """Read messages until one begins with `wanted`; answers all of them."""
    heard = []
    while not heard or not heard[-1].startswith(wanted):
        heard.append(listening.recv(4096).decode())
    return heard


def test_manager_is_told_when_the_daemon_is_ready(place, manager):
    """First of all."""
    listening, address = manager
    place.daemon(NOTIFY_SOCKET=address)
    assert hear(listening, "READY=1") == ["READY=1"]


def test_manager_is_told_on_an_abstract_socket(place):
    """`@name`, as systemd does it in some setups."""
    name = secrets.token_hex(8)
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as listening:
        listening.bind(f"\0{name}")
        listening.settimeout(90)
        place.daemon(NOTIFY_SOCKET=f"@{name}")
        assert hear(listening, "READY=1") == ["READY=1"]


def test_manager_hears_the_watchdog_as_often_as_it_asked(place, manager):
    """Beats while the store answers."""
    listening, address = manager
    place.daemon(NOTIFY_SOCKET=address, WATCHDOG_USEC="200000")
    hear(listening, "READY=1")
    assert [hear(listening, "WATCHDOG=1")[-1] for _ in range(3)] == ["WATCHDOG=1"] * 3


def test_manager_is_told_when_the_daemon_stops(place, manager):
    """Before it drains."""
    listening, address = manager
    daemon = place.daemon(NOTIFY_SOCKET=address)
    hear(listening, "READY=1")
    daemon.send(signal.SIGTERM)
    hear(listening, "STOPPING=1")
    assert daemon.end() == 0


def test_manager_is_told_of_a_reload_and_its_end(place, manager):
    """RELOADING with the monotonic time, then READY, as Type=notify-reload wants it."""
    listening, address = manager
    daemon = place.daemon(NOTIFY_SOCKET=address)
    hear(listening, "READY=1")
    daemon.send(signal.SIGHUP)
    reloading = hear(listening, "RELOADING=1")[-1]
    hear(listening, "READY=1")
    name, _, stamp = reloading.splitlines()[1].partition("=")
    assert (name, stamp.isdigit()) == ("MONOTONIC_USEC", True)


def test_manager_is_told_ready_after_a_faulty_reload_too(place, manager):
    """Otherwise it would wait for ever."""
    listening, address = manager
    daemon = place.daemon(NOTIFY_SOCKET=address)
    hear(listening, "READY=1")
    (place.folder / "config.toml").write_text("[worker\n")
    daemon.send(signal.SIGHUP)
    hear(listening, "RELOADING=1")
    hear(listening, "READY=1")
    assert daemon.process.poll() is None


def test_manager_that_is_gone_stops_nobody(place):
    """The socket does not exist."""
    assert place.ready(NOTIFY_SOCKET=str(place.folder / "nowhere")).stop() == 0
