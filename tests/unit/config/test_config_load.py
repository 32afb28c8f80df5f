from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from worker.config.load import find, load
from worker.config.model import RateLimit
from worker.errors import ConfigProblems, Misconfigured

# The sections of the README's configuration and more, each option with a value.
WHOLE = """
[worker]
state_dir = "state"             # relative to this file
jobs_path = ["jobs"]
timezone = "UTC"

[store]
url = "sqlite:///state/worker.db"      # or postgresql://... for several machines

[keyring]
file = "worker.key"

[integrations.arlo]
preset = "arlo"                 # fills in what is known of a provider; everything below can be given by hand
platform = "acme"
client_id = "abc"
client_secret_file = "arlo.secret"   # only if it is not kept in the encrypted store
scopes = ["openid", "profile", "offline_access", "read", "all_claims"]
issuer = "https://auth.example.com"
authorize_url = "https://auth.example.com/authorize"
token_url = "https://auth.example.com/token"
revoke_url = "https://auth.example.com/revoke"
device_url = "https://auth.example.com/device"
identity_url = "https://auth.example.com/me"
redirect_uri = "https://worker.example.org/callback"
client_auth = "basic"         # basic | post | none
api_base = "https://api.example.com/"
api_origins = ["https://api.example.com"]
rate_limit = "300/minute"     # shared by all accounts of the integration, or "per account"

[jobs.arlo-registrations]
uses = "arlo.registrations"     # module.function in jobs_path
integration = "arlo"
every = "15m"                   # or cron = "0 6 * * mon-fri"; jitter, timeout, retries, accounts = ["..."]
sink = "local"

[sinks.local]
type = "sqlite"                 # sqlite | postgresql | jsonl | dlt
path = "state/data.db"

[web]
listen = "127.0.0.1:8700"
public_url = "https://worker.example.org"

[[notify]]
url = "mailto://ops.example.org"
events = ["needs_consent", "incident", "recovered"]
"""


def test_load_reads_the_design_as_written(folder):
    """A file that uses every section loads, value for value."""
    config = folder.load(WHOLE)
    arlo = config.integrations["arlo"]
    job = config.jobs["arlo-registrations"]
    assert config.worker.state_dir == folder.path / "state"
    assert config.worker.jobs_path == (folder.path / "jobs",)
    assert config.store.url == f"sqlite:///{folder.path}/state/worker.db"
    assert config.keyring.path == folder.path / "worker.key"
    assert arlo.scopes == ("openid", "profile", "offline_access", "read", "all_claims")
    assert arlo.secrets["client_secret"].value == "arlo.secret"
    assert arlo.rate_limit == (RateLimit(300, 60.0, "integration"),)
    assert arlo.token_url == "https://auth.example.com/token"
    assert (job.uses, job.every, job.sink) == ("arlo.registrations", 900.0, "local")
    assert config.sinks["local"].path == folder.path / "state/data.db"
    assert config.web.listen == "127.0.0.1:8700"
    assert config.notify[0].events == ("needs_consent", "incident", "recovered")


def test_load_reads_the_shortest_form_of_the_design(folder):
    """What the design comments out is not needed: the preset knows it."""
    lines = WHOLE.splitlines()
    given = ("issuer", "authorize_url", "token_url", "revoke_url", "device_url", "identity_url", "redirect_uri",
             "client_auth", "api_", "rate_limit", "client_secret")  # fmt: skip
    arlo = folder.load("\n".join(line for line in lines if not line.startswith(given))).integrations["arlo"]
    assert arlo.token_url == "https://acme.arlo.co/oauth/connect/token"
    assert arlo.api_origins == ("https://acme.arlo.co",)


def test_load_gives_an_empty_file_all_defaults(folder):
    """Nothing has to be written; a warning says that there is nothing to do yet."""
    config = folder.load("")
    assert (config.worker.concurrency, config.worker.drain_timeout, config.worker.history) == (16, 30.0, 7776000.0)
    assert (config.worker.log_level, config.worker.log_format, config.worker.timezone) == ("info", "auto", "UTC")
    assert config.store.sqlite_path == folder.path / "state/worker.db"
    assert config.keyring.source.kind == "file"
    assert dict(config.integrations) == dict(config.jobs) == dict(config.sinks) == {}
    assert (config.web.listen, config.notify) == (None, ())
    assert [place for place, _ in config.warnings] == ["integrations"]


def test_load_gives_a_job_all_defaults(folder, integration, job):
    """A job needs a function, an integration and a schedule."""
    config = folder.load(f'[worker]\ntimezone = "Europe/Berlin"\n{integration}{job}')
    invoices = config.jobs["invoices"]
    assert (invoices.timeout, invoices.retries, invoices.jitter) == (3600.0, 3, 0.0)
    assert (invoices.accounts, invoices.sink, invoices.cron) == (None, None, None)
    assert (invoices.timezone, invoices.params, invoices.catch_up) == ("Europe/Berlin", {}, True)


def test_load_counts_paths_from_the_file_not_the_process(folder, monkeypatch):
    """The current folder has no say, and `..` is taken out."""
    monkeypatch.chdir("/")
    config = folder.load('[worker]\nstate_dir = "../elsewhere/state"\n[store]\nurl = "sqlite:////var/lib/w.db"')
    assert config.worker.state_dir == folder.path.parent / "elsewhere/state"
    assert config.store.sqlite_path == Path("/var/lib/w.db")


def test_load_makes_a_relative_config_path_absolute(folder, monkeypatch):
    """A file named relatively still anchors absolute paths."""
    folder.write("")
    monkeypatch.chdir(folder.path)
    config = load(Path("config.toml"), {})
    assert config.path == folder.file
    assert config.worker.state_dir == folder.path / "state"


def test_load_keeps_a_server_url_as_it_is(folder):
    """A PostgreSQL URL is not a path."""
    store = folder.load('[store]\nurl = "postgresql://worker@db.example.com/worker"').store
    assert (store.url, store.sqlite_path) == ("postgresql://worker@db.example.com/worker", None)


def test_load_fetches_a_store_url_from_the_environment(folder):
    """A URL with a password stays out of the file."""
    config = folder.load('[store]\nurl_env = "STORE_URL"')
    fetched = config.store.read_url({"STORE_URL": "postgresql://w:hunter2hunter2@db/worker"}, config.base_dir)
    assert fetched == "postgresql://w:hunter2hunter2@db/worker"


def test_load_refuses_a_fetched_store_url_without_quoting_it(folder):
    """The URL came from a secret place, so the message has none of it."""
    config = folder.load('[store]\nurl_env = "STORE_URL"')
    with pytest.raises(Misconfigured, match=r"^store\.url_env: neither") as caught:
        config.store.read_url({"STORE_URL": "mysql://w:hunter2hunter2@db/worker"}, config.base_dir)
    assert "hunter2" not in str(caught.value)


def test_store_url_is_not_in_the_repr(folder):
    """A dump of the configuration shows no password."""
    assert "hunter2" not in repr(folder.load('[store]\nurl = "postgresql://w:hunter2hunter2@db/worker"'))


def test_load_reads_a_byte_order_mark(folder):
    """Editors on Windows write one."""
    assert folder.load(b"\xef\xbb\xbf[worker]\nconcurrency = 2\r\n").worker.concurrency == 2


def test_load_reads_free_parameters_as_json(folder, integration, job):
    """Anything may stand in params; dates become text."""
    params = folder.load(f"{integration}{job}params = {{ since = 2026-01-01, deep = {{ list = [1, 2.5, true] }} }}")
    assert params.jobs["invoices"].params == {"since": "2026-01-01", "deep": {"list": [1, 2.5, True]}}


def test_keyring_takes_any_one_origin(folder):
    """File, variable, credential or command."""
    for text, kind in (('env = "K"', "env"), ('credential = "k"', "credential"), ('command = "pass k"', "command")):
        keyring = folder.load(f"[keyring]\n{text}").keyring
        assert (keyring.source.kind, keyring.path) == (kind, None)


def test_find_prefers_the_explicit_name(tmp_path):
    """--config, then the variable, then the usual places."""
    first, second, third = (tmp_path / name for name in ("a.toml", "b.toml", "c.toml"))
    for file in (first, second, third):
        file.touch()
    environ = {"WORKER_CONFIG": str(second)}
    assert find(first, environ, (third,)) == first
    assert find(None, environ, (third,)) == second
    assert find(None, {}, (tmp_path / "none.toml", third)) == third


def test_find_says_where_it_looked(tmp_path):
    """Without any file the message names the places and the way out."""
    with pytest.raises(Misconfigured, match=r"no config file: .*none\.toml") as caught:
        find(None, {}, (tmp_path / "none.toml",))
    assert caught.value.hint == "worker init"


@pytest.mark.parametrize("name", ["missing.toml", "x" * 5000, "nul\0byte"])
def test_find_refuses_a_named_file_that_is_not_there(tmp_path, name):
    """A named file is never silently replaced by another one."""
    with pytest.raises(Misconfigured, match="does not exist"):
        find(tmp_path / name, {})


def test_find_names_the_variable_at_fault(tmp_path):
    """$WORKER_CONFIG may have been forgotten about."""
    with pytest.raises(Misconfigured, match=r"\(\$WORKER_CONFIG names it\) does not exist"):
        find(None, {"WORKER_CONFIG": str(tmp_path / "gone.toml")})


def test_find_refuses_a_folder(tmp_path):
    """A folder draws the name of the file inside it."""
    with pytest.raises(Misconfigured, match="is a folder") as caught:
        find(tmp_path, {})
    assert "config.toml" in caught.value.hint


def test_load_looks_like_the_style_guide(folder):
    """All problems in one message, aligned, with the command to try."""
    with pytest.raises(ConfigProblems) as caught:
        folder.load('[integrations.arlo]\nclient_id = "c"\ntoken_url = "https://a.example/t"\nscope = []\n'
                    '[jobs.invoices]\nuses = "a.b"\nintegration = "arlo"\nevery = "15"\n')  # fmt: skip
    assert str(caught.value) == (
        f"{folder.file}: 2 problems\n"
        '  integrations.arlo.scope  unknown option; did you mean "scopes"?\n'
        '  jobs.invoices.every      "15" has no unit; write "15m", "15s" or "15h"'
    )
    assert caught.value.hint == "worker config check"


def test_config_imports_nothing_heavy():
    """Start-up budget: no database, HTTP, crypto, scheduler or XML stack, and no subprocess."""
    heavy = ("requests", "sqlalchemy", "sqlmodel", "cryptography", "alembic", "apscheduler", "lxml", "subprocess")
    modules = "worker.config.load, worker.config.check, worker.config.describe, worker.config.example"
    code = f"import sys, {modules}; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_load_says_why_a_file_cannot_be_read():
    """The system's reason, in words."""
    with pytest.raises(Misconfigured, match="/proc/self/mem cannot be read: input/output error"):
        load(Path("/proc/self/mem"), {})


def test_load_refuses_a_file_of_unlikely_size(folder):
    """Somebody named the database."""
    with folder.file.open("wb") as file:
        file.truncate(17 * 1024 * 1024)
    with pytest.raises(Misconfigured, match="larger than 16 MiB"):
        load(folder.file, {})


def test_load_names_routes_by_where_they_lead(folder):
    """A name of its own wins, and no two are the same; nothing of a URL but its kind is shown."""
    routes = ("command = '/bin/page x'", "command = '/usr/bin/page'", "webhook = 'https://h.example.org/a'",
              "url = 'slack://token/in/place'", "url_env = 'U'", "command = 'p'\nname = 'page'")  # fmt: skip
    config = folder.load("".join(f"[[notify]]\n{route}\n" for route in routes))
    assert [route.name for route in config.notify] == ["page 2", "page 3", "h.example.org", "slack", "url", "page"]
