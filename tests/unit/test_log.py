"""Logging: one JSON object a line, with its context, without a secret; readable text for people."""

import io
import json
import logging
import sys
import threading
from collections.abc import Iterator

import pytest

from worker.log import bound, configure, warn_config
from worker.redact import MASK, Scrubber, Secret

_TOKEN = "very-secret-refresh-token"
log = logging.getLogger("worker.test")


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    """Logging is the process's own: put it back."""
    root = logging.getLogger()
    handlers, level, hooks = list(root.handlers), root.level, (sys.excepthook, threading.excepthook)
    levels = {name: logging.getLogger(name).level for name in ("apscheduler", "pyrate_limiter")}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    sys.excepthook, threading.excepthook = hooks
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)


@pytest.fixture
def known() -> Scrubber:
    """Knows one token."""
    scrubber = Scrubber()
    scrubber.learn(_TOKEN)
    return scrubber


@pytest.fixture
def stream(known: Scrubber) -> io.StringIO:
    """Where JSON lines go, at level debug."""
    stream = io.StringIO()
    configure(known, level="debug", style="json", stream=stream)
    return stream


@pytest.fixture
def text(known: Scrubber) -> io.StringIO:
    """Where text lines go, at level debug."""
    stream = io.StringIO()
    configure(known, level="debug", style="text", stream=stream)
    return stream


def _only_line(stream: io.StringIO) -> dict[str, object]:
    (line,) = stream.getvalue().splitlines()
    found: dict[str, object] = json.loads(line)
    return found


def test_json_line_has_time_level_logger_and_message(stream: io.StringIO) -> None:
    """Times are RFC 3339 UTC; nothing else is there unless somebody put it."""
    log.info("run %s", "started")
    line = _only_line(stream)
    assert str(line.pop("time")).endswith("Z")
    assert line == {"level": "INFO", "logger": "worker.test", "message": "run started"}


def test_json_line_carries_the_facts(stream: io.StringIO) -> None:
    """Extras keep their types, and a state is no OAuth parameter here."""
    log.info("run ended", extra={"rows": 3, "state": "succeeded", "key": "id", "code": "x1", "none": None})
    line = _only_line(stream)
    assert [line[name] for name in ("rows", "state", "key", "code", "none")] == [3, "succeeded", "id", "x1", None]


def test_json_line_carries_the_bound_context(stream: io.StringIO) -> None:
    """Nested blocks add to each other; lines of other libraries have it too."""
    with bound(integration="arlo", account="acme"), bound(run_id="r1"):
        logging.getLogger("urllib3").debug("GET")
    line = _only_line(stream)
    assert (line["integration"], line["account"], line["run_id"]) == ("arlo", "acme", "r1")


def test_context_ends_with_its_block(stream: io.StringIO) -> None:
    """Also when the block raises."""
    with pytest.raises(ZeroDivisionError), bound(account="acme"):
        _ = 1 / 0
    log.info("later")
    assert "account" not in _only_line(stream)


def test_context_belongs_to_its_thread(stream: io.StringIO) -> None:
    """Another thread's lines do not carry ours."""
    with bound(account="acme"):
        thread = threading.Thread(target=log.info, args=("elsewhere",))
        thread.start()
        thread.join()
    assert "account" not in _only_line(stream)


def test_facts_win_over_the_context(stream: io.StringIO) -> None:
    """What the line itself says is nearer to the truth."""
    with bound(account="acme"):
        log.info("x", extra={"account": "beta"})
    assert _only_line(stream)["account"] == "beta"


@pytest.mark.parametrize("style", ["json", "text"])
@pytest.mark.parametrize(
    "say",
    [
        lambda: log.info("got %s", _TOKEN),
        lambda: log.info("x", extra={"detail": _TOKEN}),
        lambda: log.info("x", extra={"detail": {"deep": [_TOKEN]}}),
        lambda: log.info("x", extra={"detail": {_TOKEN: 1}}),
        lambda: log.info("x", extra={"detail": Secret(_TOKEN)}),
        lambda: log.info("x", extra={"detail": _TOKEN.encode()}),
        lambda: log.info("x", extra={"detail": {"raw": _TOKEN.encode()}}),
        lambda: log.info("x", extra={"detail": ValueError(_TOKEN)}),
        lambda: log.info("x", stack_info=_TOKEN == ""),
        lambda: logging.getLogger("urllib3.connectionpool").debug("POST %r", {"refresh_token": _TOKEN}),
    ],
)
def test_known_secret_reaches_no_line(known: Scrubber, style: str, say) -> None:
    """Message, arguments, extras of any shape, other libraries."""
    stream = io.StringIO()
    configure(known, level="debug", style=style, stream=stream)
    say()
    assert stream.getvalue()
    assert _TOKEN not in stream.getvalue()


@pytest.mark.parametrize("style", ["json", "text"])
def test_unknown_secret_under_a_telling_name_reaches_no_line(known: Scrubber, style: str) -> None:
    """Nobody has shown it to the scrubber; its name gives it away."""
    stream = io.StringIO()
    configure(known, level="info", style=style, stream=stream)
    log.info("x", extra={"Access_Token": "never-seen-before", "headers": {"Authorization": "Bearer never-seen-before"}})
    assert "never-seen-before" not in stream.getvalue()
    assert MASK in stream.getvalue()


@pytest.mark.parametrize("style", ["json", "text"])
def test_traceback_is_scrubbed(known: Scrubber, style: str) -> None:
    """The chain of causes too."""
    stream = io.StringIO()
    configure(known, level="info", style=style, stream=stream)
    try:
        _fail()
    except RuntimeError:
        log.exception("it broke")
    assert "RuntimeError" in stream.getvalue()
    assert "ValueError" in stream.getvalue()
    assert _TOKEN not in stream.getvalue()


def _fail() -> None:
    try:
        int(f"inner {_TOKEN}")
    except ValueError as error:
        raise RuntimeError(f"outer {_TOKEN}") from error


def test_json_line_stays_one_line_with_a_traceback(stream: io.StringIO) -> None:
    """Line breaks are escaped: a collector reads line by line."""
    try:
        _fail()
    except RuntimeError:
        log.exception("it broke")
    assert "RuntimeError" in str(_only_line(stream)["exc_info"])


def test_text_line_shows_message_and_facts(text: io.StringIO) -> None:
    """Message first, then name=value; a run's state is readable."""
    log.info("run ended", extra={"state": "succeeded", "rows": 3})
    assert text.getvalue().rstrip().endswith("INFO    run ended  state=succeeded rows=3")


def test_text_facts_stand_before_the_traceback(text: io.StringIO) -> None:
    """On the first line, where people look."""
    try:
        _fail()
    except RuntimeError:
        log.exception("it broke", extra={"rows": 3})
    assert text.getvalue().splitlines()[0].endswith("it broke  rows=3")


def test_auto_style_is_json_where_nobody_watches(known: Scrubber) -> None:
    """A pipe is a service."""
    stream = io.StringIO()
    configure(known, level="info", style="auto", stream=stream)
    log.info("x")
    assert _only_line(stream)["message"] == "x"


def test_level_holds_back_what_is_below(known: Scrubber) -> None:
    """Any case of its name."""
    stream = io.StringIO()
    configure(known, level="Warning", style="json", stream=stream)
    log.info("quiet")
    log.warning("loud")
    assert _only_line(stream)["message"] == "loud"


def test_configuring_twice_writes_once(known: Scrubber) -> None:
    """The old handler goes."""
    old, new = io.StringIO(), io.StringIO()
    configure(known, level="info", style="json", stream=old)
    configure(known, level="info", style="json", stream=new)
    log.info("x")
    assert (old.getvalue(), len(new.getvalue().splitlines())) == ("", 1)


def test_error_that_kills_a_thread_is_a_scrubbed_line(stream: io.StringIO) -> None:
    """No bare traceback on stderr."""
    thread = threading.Thread(target=_fail)
    thread.start()
    thread.join()
    assert _only_line(stream)["message"] == "a thread died"
    assert _TOKEN not in stream.getvalue()


def test_error_that_kills_the_process_is_a_scrubbed_line(stream: io.StringIO) -> None:
    """Likewise for the main thread."""
    try:
        _fail()
    except RuntimeError as error:
        sys.excepthook(RuntimeError, error, error.__traceback__)
    assert _only_line(stream)["message"] == "the process died"
    assert _TOKEN not in stream.getvalue()


def test_config_warning_names_its_place(stream: io.StringIO) -> None:
    """As facts, for whoever filters."""
    warn_config("store.url", "a literal password")
    assert _only_line(stream)["place"] == "store.url"
