"""The error tree: exit codes, messages, hints."""

import inspect

import pytest

from worker import errors
from worker.errors import ConfigProblems, Interrupted, NeedsConsent, ScopeMissing, TryAgainLater, WorkerError

_ALL = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, WorkerError)]
#: ConfigProblems makes its own message, Interrupted takes no advice: there is nothing to do about a shutdown.
_PLAIN = [kind for kind in _ALL if kind not in {ConfigProblems, Interrupted}]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("WorkerError", 1),
        ("UsageFault", 2),
        ("NeedsConsent", 3),
        ("ScopeMissing", 3),
        ("TryAgainLater", 75),
        ("Busy", 75),
        ("Misconfigured", 78),
        ("ConfigProblems", 78),
        ("KeyUnusable", 78),
        ("StoreUnusable", 78),
        ("TamperedSecret", 78),
        ("JobUnusable", 78),
        ("EnrolmentFailed", 1),
        ("FenceLost", 1),
    ],
)
def test_error_has_the_exit_code_of_the_contract(name: str, code: int) -> None:
    """Scripts rely on these exit codes."""
    assert getattr(errors, name).exit_code == code


@pytest.mark.parametrize("kind", _PLAIN, ids=lambda kind: kind.__name__)
def test_error_without_a_message_says_its_docstring(kind: type[WorkerError]) -> None:
    """The class carries its message."""
    assert str(kind()) == inspect.cleandoc(kind.__doc__ or "").splitlines()[0]


@pytest.mark.parametrize("kind", _PLAIN, ids=lambda kind: kind.__name__)
def test_error_keeps_message_hint_and_evidence(kind: type[WorkerError]) -> None:
    """Every class takes the same three."""
    error = kind("it broke", hint="mend it", evidence={"status": 500})
    assert (str(error), error.message, error.hint, error.evidence) == (
        "it broke",
        "it broke",
        "mend it",
        {"status": 500},
    )


@pytest.mark.parametrize("kind", _ALL, ids=lambda kind: kind.__name__)
def test_error_stands_in_the_tree_of_the_module(kind: type[WorkerError]) -> None:
    """The picture at the top of the module is complete."""
    assert f"{kind.__name__} " in (errors.__doc__ or "")


def test_error_evidence_is_a_copy() -> None:
    """Changing the caller's dict later changes no error."""
    facts: dict[str, object] = {"status": 500}
    error = WorkerError(evidence=facts)
    facts["status"] = 200
    assert error.evidence == {"status": 500}


def test_try_again_later_keeps_the_wait() -> None:
    """Seconds, or None when nobody named any."""
    assert (TryAgainLater(after=2.5).after, TryAgainLater().after) == (2.5, None)


def test_scope_missing_needs_consent_and_names_the_scopes() -> None:
    """Whoever catches NeedsConsent catches it."""
    error = ScopeMissing(missing=["write"])
    assert isinstance(error, NeedsConsent)
    assert error.missing == ("write",)


def test_config_problems_lists_every_place_in_columns() -> None:
    """All at once, each with its place."""
    error = ConfigProblems("config.toml", [("jobs.a.every", "no unit"), ("web.listen", "no port")])
    assert str(error) == "config.toml: 2 problems\n  jobs.a.every  no unit\n  web.listen    no port"


def test_config_problems_counts_one_in_the_singular() -> None:
    """1 problem, not 1 problems."""
    assert str(ConfigProblems("c", [("a", "b")])).startswith("c: 1 problem\n")
