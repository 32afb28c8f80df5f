from __future__ import annotations

import pytest

# Text of the file, place of the fault, what the message must have in it.
FAULTS = [
    # Sections
    ("wrker = 1", "wrker", 'unknown section; did you mean "worker"?'),
    ("[integration.x]\na = 1", "integration", 'did you mean "integrations"?'),
    ('zzz = "q"', "zzz", "unknown section; remove it"),
    ('client_id = "q"', "client_id", "it belongs in [integrations.NAME]"),
    ("worker = 3", "worker", "3 is a number; write a table, headed [worker]"),
    ("[[worker]]", "worker", "a list; write a table, headed [worker]"),
    ("integrations = []", "integrations", "a list; write [integrations.NAME]"),
    ("[integrations]\nx = 4", "integrations.x", "4 is a number; write a table, headed [integrations.x]"),
    ('[integrations]\nclient_id = "x"', "integrations.client_id", "write it under [integrations.NAME]"),
    ("[[integrations.x]]", "integrations.x", "a list; write a table, headed [integrations.x]"),
    ("[notify]\nurl = 'x://y'", "notify", "a table; write [[notify]], with two brackets"),
    ("notify = [1]", "notify[1]", "headed [[notify]]"),
    ('[sinks."a b"]\ntype="sqlite"\npath="x"', 'sinks."a b"', '"a b" does not fit; write a name of letters'),
    ('[sinks."-a"]\ntype="sqlite"\npath="x"', "sinks.-a", "does not fit"),
    ('[sinks."a\\nb"]\ntype="sqlite"\npath="x"', 'sinks."a\\nb"', "control character"),
    # Options
    ("[worker]\nthreads = 3", "worker.threads", 'unknown option; did you mean "concurrency"?'),
    ("[worker]\nxyzzy = 3", "worker.xyzzy", "unknown option; remove it"),
    ('[worker]\nrate_limit = "1/s"', "worker.rate_limit", "it belongs in [integrations.NAME]"),
    # Types
    ("[worker]\nconcurrency = true", "worker.concurrency", "true is a boolean; write a whole number"),
    ("[worker]\nconcurrency = 1.5", "worker.concurrency", "1.5 is a number; write a whole number"),
    ("[worker]\nconcurrency = 0", "worker.concurrency", "0 is out of bounds; write a whole number from 1 to 1000"),
    (f"[worker]\nconcurrency = {'9' * 100}", "worker.concurrency", "a huge number is out of bounds"),
    ("[worker]\nstate_dir = 5", "worker.state_dir", "5 is a number; write a path in quotes"),
    ('[worker]\nstate_dir = ""', "worker.state_dir", "empty"),
    ('[worker]\nstate_dir = "a\\u0000b"', "worker.state_dir", "control character"),
    ('[worker]\nstate_dir = "~/x"', "worker.state_dir", '"~" is not expanded'),
    ('[worker]\njobs_path = "jobs"', "worker.jobs_path", 'a string; write a list: ["jobs"]'),
    ("[worker]\njobs_path = []", "worker.jobs_path", "empty"),
    ("[worker]\njobs_path = [1]", "worker.jobs_path[1]", "1 is a number"),
    ('[worker]\njobs_path = ["a", "./a"]', "worker.jobs_path[2]", "is there already"),
    ('[worker]\nlog_level = "warn"', "worker.log_level", 'did you mean "warning"?'),
    ('[worker]\nlog_format = "xml"', "worker.log_format", 'write one of "auto" | "json" | "text"'),
    ("[worker]\nlog_level = 2026-01-01", "worker.log_level", "a date or time; write one of"),
    # Time zones
    ('[worker]\ntimezone = "Europe/Berln"', "worker.timezone", 'did you mean "Europe/Berlin"?'),
    ('[worker]\ntimezone = "../../etc/passwd"', "worker.timezone", "is no time zone"),
    ('[worker]\ntimezone = "Europe"', "worker.timezone", "is no time zone"),
    ('[worker]\ntimezone = ""', "worker.timezone", "is no time zone"),
    ("[worker]\ntimezone = 1", "worker.timezone", "IANA"),
    # Durations
    ("[worker]\nhistory = 15", "worker.history", '15 has no unit; write "15m", "15s" or "15h"'),
    ('[worker]\nhistory = "15"', "worker.history", '"15" has no unit; write "15m", "15s" or "15h"'),
    ('[worker]\nhistory = "15 minutes"', "worker.history", 'is not a duration; write "15m"'),
    ('[worker]\nhistory = "-1d"', "worker.history", "is not a duration"),
    ('[worker]\nhistory = ""', "worker.history", "is not a duration"),
    ("[worker]\nhistory = inf", "worker.history", "write a duration"),
    ('[worker]\nhistory = "5s"', "worker.history", '"5s" is out of bounds; write 1h to'),
    # Store and keyring
    ('[store]\nurl = "sqlite://"', "store.url", "a store in memory would lose every grant"),
    ('[store]\nurl = "sqlite:///:memory:"', "store.url", "a store in memory"),
    ('[store]\nurl = "sqlite:state.db"', "store.url", "three slashes"),
    ('[store]\nurl = "sqlite:///x.db?mode=ro"', "store.url", "write only the path"),
    ('[store]\nurl = "mysql://h/d"', "store.url", "neither a SQLite nor a PostgreSQL URL"),
    ('[store]\nurl = "postgres://h/d"', "store.url", 'write "postgresql://"'),
    ('[store]\nurl = "postgresql://h:port/d"', "store.url", "neither"),
    ("[store]\nurl = 1", "store.url", "a number; write a URL"),
    ('[store]\nurl_env = "A B"', "store.url_env", "the name of an environment variable, without $"),
    ('[store]\nurl_env = "A"\nurl_file = "b"', "store.url_env", "given beside url_file"),
    ('[keyring]\nfile = "a"\nenv = "B"', "keyring.env", 'given beside "file"'),
    ('[keyring]\ncommand = "a \'"', "keyring.command", "close the quote"),
    ("[keyring]\ncommand = []", "keyring.command", "not a list of words"),
    ('[keyring]\ncommand = ["a", 1]', "keyring.command", "not a list of words"),
    ('[keyring]\ncommand = " "', "keyring.command", "empty"),
    ('[keyring]\ncredential = "a/b"', "keyring.credential", "without a folder"),
    ("[keyring]\nenv = 5", "keyring.env", "write it in quotes"),
    # Sinks
    ('[sinks.a]\npath = "x"', "sinks.a.type", 'missing; write type = "sqlite"'),
    ('[sinks.a]\ntype = "sqlit"', "sinks.a.type", 'did you mean "sqlite"?'),
    ('[sinks.a]\ntype = "sqlite"', "sinks.a.path", "missing; write path ="),
    ('[sinks.a]\ntype = "jsonl"\npath = "x"\nurl = "y"', "sinks.a.url", "has none; remove it"),
    ('[sinks.a]\ntype = "postgresql"\nurl = "y"', "sinks.a.url", "no PostgreSQL URL"),
    ('[sinks.a]\ntype = "postgresql"', "sinks.a.url", 'missing; write url = "postgresql://'),
    ('[sinks.a]\ntype = "postgresql"\nurl = "postgresql://h/d"\npath = "x"', "sinks.a.path", "has none; remove it"),
    ('[sinks.a]\ntype = "sqlite"\npath = "x"\nrotate_every = "1h"', "sinks.a.rotate_every", "has none; remove it"),
    ('[sinks.a]\ntype = "dlt"', "sinks.a.destination", 'write destination = "duckdb"'),
    (
        '[sinks.a]\ntype="sqlite"\npath="x"\n[sinks.b]\ntype="sqlite"\npath="./x"',
        "sinks.b.path",
        "that of sinks.a.path",
    ),
    ('[sinks.a]\ntype="sqlite"\npath="state/worker.db"', "sinks.a.path", "is that of store.url, too"),
    # Reserved sections are checked all the same
    ('[web]\nlisten = "8700"', "web.listen", "HOST:PORT"),
    ('[web]\nlisten = "h:99999"', "web.listen", "HOST:PORT"),
    ('[web]\nlisten = "::1:80"', "web.listen", "HOST:PORT"),
    ('[web]\npublic_url = "http://w.example.org"', "web.public_url", 'write "https://w.example.org"'),
    ("[[notify]]\nevents = []", "notify[1]", "says no way to reach anybody"),
    ("[[notify]]\nurl = 'a://b'\ncommand = 'c'", "notify[1].command", "write a second [[notify]] for it"),
    ("[[notify]]\nurl = 'a://b'\nevents = ['x']", "notify[1].events[1]", "is not known"),
    ("[[notify]]\nwebhook = 'http://h.example.org/'", "notify[1].webhook", "plain http"),
    ("[[notify]]\nurl = 'a://b'\nintegrations = ['x']", "notify[1].integrations", '"x" does not exist'),
    ("[[notify]]\nurl = 'a://b'\nremind = '60d'", "notify[1].remind", "out of bounds"),
    ("[[notify]]\nurl = 'a://b'\nname = 'n'\n[[notify]]\ncommand = 'c'\nname = 'n'", "notify[2].name", "too"),
]


@pytest.mark.parametrize(("text", "place", "what"), FAULTS, ids=[f"{place}-{what[:20]}" for _, place, what in FAULTS])
def test_load_names_place_find_and_remedy(folder, text, place, what):
    """Each kind of fault is reported at its place, with what would be right."""
    problems = folder.problems(text)
    assert what in problems[place]
    assert list(problems) == [place]


JOB_FAULTS = [
    ('every = "0.5s"', "every", "out of bounds; write 1s to"),
    ('cron = "0 6 * * *"\nevery = "1h"', "cron", "a job has one schedule"),
    ('cron = "0 6 * *"', "cron", "4 fields, not five"),
    ('cron = "0 0 6 * * *"', "cron", "no field for seconds or years"),
    ("cron = 5", "cron", "write five fields"),
    ('every = "1h"\naccounts = "acme"', "accounts", 'a string; write a list: ["acme"]'),
    ('every = "1h"\naccounts = []', "accounts", "it would run for nobody"),
    ('every = "1h"\naccounts = ["a/b"]', "accounts[1]", "an account's name"),
    ('every = "1h"\naccounts = ["a", "a"]', "accounts[2]", "is there already"),
    ('every = "1h"\ntimezone = "Nowhere"', "timezone", "is no time zone"),
    ('every = "1h"\nretries = -1', "retries", "from 0 to 100"),
    ('every = "1h"\ntimeout = "0s"', "timeout", "out of bounds"),
    ('every = "1h"\nparams = 4', "params", "write a table"),
    ('every = "1h"\nparams = { a = { b = nan } }', "params.a.b", "inf and nan"),
    ('every = "1h"\ncatch_up = "yes"', "catch_up", "true or false, without quotes"),
    ('interval = "1h"\nevery="1h"', "interval", 'did you mean "every"?'),
    ('every = "1h"\nsink = "locl"', "sink", '"locl" does not exist; did you mean "local"?'),
    ('every = "1h"\nsink = "q"', "sink", "write [sinks.q], or one of: local"),
]


@pytest.mark.parametrize(
    ("text", "option", "what"), JOB_FAULTS, ids=[f"{option}-{what[:20]}" for _, option, what in JOB_FAULTS]
)
def test_load_names_faults_of_a_job(folder, integration, text, option, what):
    """A job's faults carry its name."""
    sink = '[sinks.local]\ntype = "sqlite"\npath = "d.db"\n'
    problems = folder.problems(f'{integration}{sink}[jobs.j]\nuses = "a.b"\nintegration = "arlo"\n{text}')
    assert what in problems[f"jobs.j.{option}"]
    assert len(problems) == 1


@pytest.mark.parametrize("uses", ["arlo", "a.b.c", "a b.c", "1a.b", ".a", "a."])
def test_load_refuses_what_names_no_function(folder, integration, uses):
    """MODULE.FUNCTION, no more and no less."""
    problems = folder.problems(f'{integration}[jobs.j]\nuses = "{uses}"\nintegration = "arlo"\nevery = "1h"')
    assert "MODULE.FUNCTION" in problems["jobs.j.uses"]


def test_load_names_what_a_job_lacks(folder):
    """Both required options are missed at once."""
    problems = folder.problems('[jobs.j]\nevery = "1h"')
    assert problems == {
        "jobs.j.uses": 'missing; write uses = "arlo.registrations"',
        "jobs.j.integration": 'missing; write integration = "arlo"',
    }


def test_load_suggests_the_integration_that_was_meant(folder, integration):
    """A reference with a typing error."""
    problems = folder.problems(f'{integration}[jobs.j]\nuses = "a.b"\nintegration = "arl"\nevery = "1h"')
    assert problems == {"jobs.j.integration": '"arl" does not exist; did you mean "arlo"?'}


def test_load_does_not_blame_a_job_for_its_integrations_faults(folder):
    """A faulty integration still exists."""
    problems = folder.problems('[integrations.a]\n[jobs.j]\nuses = "a.b"\nintegration = "a"\nevery = "1h"')
    assert list(problems) == ["integrations.a.client_id", "integrations.a.token_url"]


def test_load_reports_everything_at_once(folder):
    """One fault in every section, seven lines in the answer."""
    problems = folder.problems(
        "x = 1\n[worker]\na = 1\n[store]\nb = 1\n[keyring]\nc = 1\n[sinks.s]\nd = 1\ntype='jsonl'\npath='p'\n"
        "[web]\ne = 1\n[[notify]]\nurl='a://b'\nf = 1"
    )
    assert list(problems) == ["x", "worker.a", "store.b", "keyring.c", "sinks.s.d", "web.e", "notify[1].f"]


SYNTAX = [
    ("[worker]\nstate_dir = \n", "line 2, column 13", "not TOML: invalid value"),
    ("[worker]\na = 1\na = 2\n", "line 3, column 6", "in the file already; keep one of the two"),
    ("[worker]\n[worker]\n", "line 2, column 8", "in the file already; keep one of the two"),
    ('a = "open', "end of file", "not TOML"),
    ("a", "end of file", "not TOML: expected '='"),
    (b"[worker]\nx = '\xff'\n", "line 2", "not UTF-8"),
    ("a = " + "[" * 100_000, "file", "nested too deeply"),
    (f"a = {'9' * 5000}", "file", "too many digits"),
]


@pytest.mark.parametrize(("text", "place", "what"), SYNTAX, ids=[what for _, _, what in SYNTAX])
def test_load_says_on_which_line_it_is_not_toml(folder, text, place, what):
    """A syntax error is one problem with line and column."""
    problems = folder.problems(text)
    assert what in problems[place]
    assert len(problems) == 1


def test_syntax_message_quotes_no_value(folder):
    """The line at fault may hold a secret."""
    assert "hunter2" not in str(folder.problems('[integrations.a]\nclient_secret = "hunter2hunter2\n'))


def test_faults_never_quote_a_secret(folder):
    """Neither a mistyped secret nor a URL with a password is shown."""
    text = str(
        folder.problems(
            '[integrations.a]\nclient_id="c"\ntoken_url = "https://me:hunter2hunter2@h/t"\n'
            'client_secret = [ "hunter2" ]\n'
            'api_base = "ftp://me:hunter2hunter2@h/"\n[store]\nurl = "mysql://me:hunter2hunter2@h/"\n'
        )
    )
    assert "hunter2" not in text


def test_faults_fit_on_a_line_and_print(folder):
    """Escapes and length of what was found cannot disturb the message."""
    problems = folder.problems(f'[worker]\nlog_level = "\\u001b[31m{"x" * 5000}"\n"\\u001b[31m" = 1\n')
    assert all(len(what) < 200 and what.isprintable() and place.isprintable() for place, what in problems.items())


def test_deep_tables_are_refused_not_a_crash(folder, integration, job):
    """Dotted headings nest without brackets, thousands of levels deep."""
    problems = folder.problems(f"{integration}{job}[jobs.invoices.params{'.a' * 3000}]\nx = 1")
    assert any("levels deep" in what for what in problems.values())


WARNINGS = [
    ('[web]\nlisten = "127.0.0.1:1"', "web", "no status page yet"),
    ("[[notify]]\nurl = 'a://b'\nsecret_env = 'S'", "notify[1].secret", "nothing is signed on the way of url"),
    ('[store]\nurl = "postgresql://u:hunter2@h/d"', "store.url", "use url_file, url_env or url_command"),
    ("", "integrations", "none yet"),
]


@pytest.mark.parametrize(("text", "place", "what"), WARNINGS, ids=[place for _, place, _ in WARNINGS])
def test_load_warns_of_what_is_doubtful(folder, text, place, what):
    """What is allowed but doubtful loads, with a warning."""
    assert what in folder.warnings(text)[place]


def test_load_warns_of_a_job_without_a_schedule(folder, integration):
    """It is not an error: some jobs are run by hand."""
    warnings = folder.warnings(f'{integration}[jobs.j]\nuses = "a.b"\nintegration = "arlo"')
    assert "runs by hand only" in warnings["jobs.j"]


def test_load_warns_of_jitter_that_does_nothing(folder, integration, job):
    """Accounts are spread over an interval anyway."""
    assert "no effect with every" in folder.warnings(f'{integration}{job}jitter = "1m"')["jobs.invoices.jitter"]
