"""The event bus: everybody hears everything, and nobody can break it."""

from worker.events import Event, Events, IncidentClosed

_FACT = IncidentClosed("arlo", "client_refused", "a refresh succeeded")


def test_event_reaches_every_listener_in_order() -> None:
    """In the order of subscription."""
    events, heard = Events(), []
    events.subscribe(lambda event: heard.append(("first", event)))
    events.subscribe(lambda event: heard.append(("second", event)))
    events.publish(_FACT)
    assert heard == [("first", _FACT), ("second", _FACT)]


def test_broken_listener_does_not_silence_the_others() -> None:
    """A notification that fails takes no refresh with it."""
    heard: list[Event] = []
    events = Events()
    events.subscribe(_break)
    events.subscribe(heard.append)
    events.publish(_FACT)
    assert heard == [_FACT]


def test_broken_listener_is_reported() -> None:
    """To `on_error`, with the event and what was raised."""
    complaints: list[tuple[Event, Exception]] = []
    events = Events(lambda event, error: complaints.append((event, error)))
    events.subscribe(_break)
    events.publish(_FACT)
    assert [(event, str(error)) for event, error in complaints] == [(_FACT, "broken")]


def test_event_without_listeners_is_no_error() -> None:
    """Nobody has to listen."""
    assert Events().publish(_FACT) is None


def _break(_event: Event) -> None:
    raise RuntimeError("broken")
