"""Loading job files from real folders with real owners and modes."""

from __future__ import annotations

import os
import sys

import pytest

from worker.errors import JobUnusable
from worker.jobs.loading import load_jobs

GOOD = """
from worker import Context, job

@job(scopes=["read"])
def invoices(ctx: Context) -> None:
    "Copy invoices."

def helper():
    pass
"""


@pytest.fixture
def folder(tmp_path):
    """A jobs folder that only its owner may write to."""
    path = tmp_path / "jobs"
    path.mkdir(mode=0o755)
    return path


def put(folder, name, text, mode=0o644):
    """A file in it."""
    path = folder / name
    path.write_text(text)
    path.chmod(mode)
    return path


def test_loading_finds_jobs_by_file_and_function(folder):
    """`uses = "books.invoices"`."""
    put(folder, "books.py", GOOD)
    catalog = load_jobs([folder])
    assert (list(catalog.jobs), catalog.faults) == (["books.invoices"], ())
    assert catalog.get("books.invoices").scopes == ("read",)


def test_loading_works_in_a_file_named_like_a_module_of_python(folder):
    """`json.py` is a fine name for a job, and the real json stays what it is."""
    import json

    put(folder, "json.py", GOOD)
    assert list(load_jobs([folder]).jobs) == ["json.invoices"]
    assert sys.modules["json"] is json


def test_loading_supports_dataclasses(folder):
    """They look their module up by its name."""
    text = (
        "from __future__ import annotations\nimport dataclasses\n@dataclasses.dataclass\nclass A:\n    x: int\n" + GOOD
    )
    put(folder, "books.py", text.replace("from worker", "from worker", 1))
    assert load_jobs([folder]).faults == ()


def test_loading_leaves_no_bytecode_behind(folder):
    """The folder may be read-only, and a cache would be another file to trust."""
    put(folder, "books.py", GOOD)
    load_jobs([folder])
    assert [path.name for path in folder.iterdir()] == ["books.py"]


def test_loading_leaves_tests_and_private_files_alone(folder):
    """They may stand beside the jobs."""
    for name in ("test_books.py", "_shared.py", "conftest.py", ".hidden.py", "notes.txt"):
        put(folder, name, "raise SystemExit")
    assert load_jobs([folder]).faults == ()


def test_loading_lists_every_fault_with_its_place(folder):
    """And the job that works is there all the same."""
    put(folder, "a_syntax.py", "x = 1\ndef broken(:\n")
    put(folder, "b_import.py", "\n\nimport no_such_module\n")
    put(folder, "c_raises.py", "def f():\n    1 / 0\n\nf()\n")
    put(folder, "d_exits.py", "import sys\nsys.exit('bye')\n")
    put(folder, "e_null.py", "x = '\0'")
    put(folder, "f_async.py", "from worker import job\n@job\nasync def a(ctx): ...\n")
    put(folder, "good.py", GOOD)
    catalog = load_jobs([folder, folder.parent / "missing"])
    assert [(place.removeprefix(str(folder.parent)), what.split(";")[0]) for place, what in catalog.faults] == [
        ("/missing", "No such file or directory"),
        ("/jobs/a_syntax.py:2", "syntax error: invalid syntax"),
        ("/jobs/b_import.py:3", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("/jobs/c_raises.py:2", "ZeroDivisionError: division by zero"),
        ("/jobs/d_exits.py:2", "SystemExit: bye"),
        ("/jobs/e_null.py", "syntax error: source code string cannot contain null bytes"),
        ("/jobs/f_async.py:2", "JobUnusable: job a is an async function"),
    ]
    assert list(catalog.jobs) == ["good.invoices"]
    with pytest.raises(JobUnusable, match="7 problems"):
        catalog.require_sound()


def test_loading_refuses_two_files_of_one_name(folder, tmp_path):
    """Nobody could tell which of them would run."""
    other = tmp_path / "more"
    other.mkdir(mode=0o755)
    put(folder, "books.py", GOOD)
    put(other, "books.py", GOOD)
    catalog = load_jobs([folder, other])
    assert catalog.jobs == {}
    with pytest.raises(JobUnusable, match=r"more/books\.py; rename one of them"):
        catalog.get("books.invoices")


@pytest.mark.parametrize(
    ("second", "line"),
    [("@job\ndef invoices(ctx): ...\n", 12), ("@job(name='invoices')\ndef other(ctx): ...\n", 11)],
)
def test_loading_refuses_two_jobs_of_one_name(folder, second, line):
    """Also where the second hides the first."""
    put(folder, "books.py", GOOD + "\n" + second)
    assert [(place.rpartition("/")[2], what) for place, what in load_jobs([folder]).faults] == [
        (f"books.py:{line}", "a second job 'invoices'; names are unique")
    ]


def test_loading_takes_one_job_under_two_names_as_one(folder):
    """An alias is no second job."""
    put(folder, "books.py", GOOD + "\nalias = invoices\n")
    assert list(load_jobs([folder]).jobs) == ["books.invoices"]


@pytest.mark.parametrize(
    ("uses", "what"),
    [
        ("books.invoces", "books.py has no job 'invoces'; did you mean 'books.invoices'"),
        ("boks.invoices", "no file boks.py in the jobs path; did you mean 'books.invoices'"),
        ("books.helper", "has a function 'helper', but it is not marked with @job"),
        ("invoices", "names no file; write 'books.invoices'"),
        ("zzz.qqq", "there are books.invoices"),
        ("broken.x", "syntax error"),
    ],
)
def test_loading_name_that_is_not_there_says_what_comes_close(folder, uses, what):
    """The text stands in the config, where somebody mistyped it."""
    put(folder, "books.py", GOOD)
    put(folder, "broken.py", "def")
    with pytest.raises(JobUnusable, match=what):
        load_jobs([folder]).get(uses)


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666])
def test_loading_refuses_a_file_that_others_may_write(folder, mode):
    """It is code that runs with every grant in reach; the file is not even executed."""
    path = put(folder, "books.py", "raise SystemExit", mode)
    ((place, what),) = load_jobs([folder]).faults
    assert (place, what) == (str(path), f"may be written by others (mode {mode:04o}); chmod go-w {path}")


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o1777])
def test_loading_refuses_a_folder_that_others_may_write(folder, mode):
    """They could put a file there."""
    put(folder, "books.py", "raise SystemExit")
    folder.chmod(mode)
    ((place, what),) = load_jobs([folder]).faults
    assert (place, what) == (str(folder), f"may be written by others (mode {mode:04o}); chmod go-w {folder}")


def test_loading_does_not_miss_a_file_in_a_folder_that_it_refused(folder):
    """One fault, and not a second one that the file were not there."""
    put(folder, "books.py", "raise SystemExit")
    folder.chmod(0o777)
    catalog = load_jobs([folder])
    assert catalog.told_of("books.invoices")
    with pytest.raises(JobUnusable, match="may be written by others"):
        catalog.get("books.invoices")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_loading_refuses_a_file_of_another_user(folder):
    """Neither ours nor root's."""
    path = put(folder, "books.py", "raise SystemExit")
    os.chown(path, 12345, -1)
    ((_, what),) = load_jobs([folder]).faults
    assert what == "belongs to user 12345, neither to root nor to the worker's user 0; chown it"


def test_loading_looks_at_the_file_behind_a_link(folder, tmp_path):
    """Links are how a cluster mounts files; what counts is what is read."""
    put(tmp_path, "elsewhere.py", "raise SystemExit", 0o666)
    (folder / "books.py").symlink_to(tmp_path / "elsewhere.py")
    ((_, what),) = load_jobs([folder]).faults
    assert what.startswith("may be written by others")


def test_loading_does_not_wait_for_a_pipe(folder):
    """Opening one would block for ever."""
    os.mkfifo(folder / "books.py", 0o600)
    ((_, what),) = load_jobs([folder]).faults
    assert what == "is no regular file"


def test_loading_refuses_what_is_too_large_for_a_job(folder):
    """Put there by mistake."""
    put(folder, "books.py", "#" * (2**20 + 1))
    ((_, what),) = load_jobs([folder]).faults
    assert "is no job" in what


def test_loading_reports_a_link_to_nothing(folder):
    """With its name."""
    (folder / "books.py").symlink_to("gone")
    ((place, what),) = load_jobs([folder]).faults
    assert (place.rpartition("/")[2], what) == ("books.py", "No such file or directory")


def test_loading_the_jobs_of_this_repository(trusted_jobs):
    """They load, and say what they need."""
    catalog = load_jobs([trusted_jobs])
    catalog.require_sound()
    assert {name: job.scopes for name, job in catalog.jobs.items()} == {
        "arlo.contacts": ("read",),
        "arlo.deletions": ("read",),
        "arlo.events": ("read",),
        "arlo.orders": ("read",),
        "arlo.registrations": ("read",),
    }
