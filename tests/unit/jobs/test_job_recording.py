"""Recordings: nothing secret in the file, and everything else as it was."""

from __future__ import annotations

import json
import sys
from urllib.parse import quote, quote_plus

import pytest
import yaml

from worker.errors import Misconfigured
from worker.jobs.recording import Answered, Asked, Recording, render
from worker.redact import Scrubber
from worker.testing import UnexpectedRequest, run_job

BASE = "https://api.example.com/v1/"
#: Each of them has what the Scrubber's spellings differ in.
TOKEN, COOKIE, SECRET = "tok/en+1=&abc", 'coo"kie\\9-xyz', "s3cret pässword"
SPELLINGS = [
    spell(value)
    for value in (TOKEN, COOKIE, SECRET)
    for spell in (
        str,
        quote_plus,
        lambda value: quote(value, safe=""),
        lambda value: json.dumps(value)[1:-1],
        lambda value: repr(value)[1:-1],
    )
]


def asked(path="invoices", method="GET", body=None, **headers):
    return Asked(method, BASE + path, {name.replace("_", "-"): value for name, value in headers.items()}, body)


def answered(body=b"[]", status=200, kind="application/json", **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answered(status, "OK", {"Content-Type": kind} | named, body)


def knowing():
    scrubber = Scrubber()
    scrubber.learn(TOKEN, COOKIE, SECRET)
    return scrubber


def rendered(*exchanges, run=None, scrubber=None):
    return render(Recording(exchanges, run or {"api_base": BASE}), scrubber or knowing())


@pytest.fixture
def recorded(tmp_path):
    """Writes a recording and answers its path."""

    def write(*exchanges, **options):
        path = tmp_path / "recording.yaml"
        path.write_text(rendered(*exchanges, **options), "utf-8")
        return path

    return write


def leaves(value):
    """Every text in a document, names included."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from (str(name), *leaves(item))
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item)
    else:
        yield value.decode("latin-1") if isinstance(value, bytes) else str(value)


def everywhere(value):
    """An exchange that has a secret in every place there is, in the spelling of that place."""
    request = asked(
        f"invoices?access_token={quote_plus(value)}&note={quote(value, safe='')}",
        "POST",
        f"note={quote_plus(value)}&x=1".encode(),
        Authorization=f"Bearer {value}",
        X_Access_Token=value,
        Cookie=f"session={value}",
        Content_Type="application/x-www-form-urlencoded",
        X_Api_Key=value,
    )
    body = json.dumps([{"echo": value, "quoted": quote(value), "repr": repr(value), "id": 1}])
    answer = answered(
        body.encode(),
        Set_Cookie=f"session={value}; HttpOnly",
        Location=f"{BASE}next?token={quote_plus(value)}",
        X_Echo=value,
        WWW_Authenticate=f'Bearer realm="{value}"',
    )
    return request, answer


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_recording_has_no_secret_in_any_spelling(spelling):
    """Address, headers and bodies of request and answer, cursor and params."""
    run = {"api_base": BASE, "cursor": {"next": TOKEN}, "params": {"password": SECRET}}
    text = rendered(*(everywhere(value) for value in (TOKEN, COOKIE, SECRET)), run=run)
    # YAML has ways of its own to write a value: what a reader gets counts as well.
    values = list(leaves(yaml.safe_load(text)))
    assert len(values) > 30
    assert not [value for value in (text, *values) if spelling in value]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1"])
def test_recording_has_no_secret_in_another_encoding(encoding, recorded):
    """A body is read as it was written, said or not."""
    body = json.dumps({"echo": SECRET}, ensure_ascii=False).encode(encoding)
    kind = "text/plain; charset=latin-1" if encoding == "latin-1" else "text/plain"
    path = recorded((asked(), answered(body, kind=kind)))
    seen = []
    run_job(lambda ctx: seen.append(ctx.get("invoices").content), recording=path)
    assert SECRET.encode(encoding).removeprefix(b"\xff\xfe") not in seen[0]


@pytest.mark.parametrize(
    "body",
    [
        b'{"access_token": "unknown-to-us", "id": 1}',
        b'{"password":"unknown-to-us"}',
        b"grant_type=x&refresh_token=unknown-to-us",
        b'{"authorization": "Bearer unknown-to-us"}',
        b'{"url": "https://user:unknown-to-us@example.com/"}',
        b'{"accessToken": "unknown-to-us", "id": 1}',
        b'{"webhook": {"secret": "unknown-to-us"}}',
        b"<login><password>unknown-to-us</password></login>",
        b'<a:Session a:x="1"><a:refreshToken type="x">unknown-to-us</a:refreshToken></a:Session>',
        b'<login user="a" password="unknown-to-us"/>',
    ],
)
def test_recording_has_nothing_that_is_secret_by_its_name(body):
    """Though nobody has told the Scrubber."""
    assert "unknown-to-us" not in rendered((asked("x", "POST", body), answered(body)))


@pytest.mark.parametrize(
    "name",
    [
        "key", "code", "state", "api_key", "token", "client_secret", "accessToken", "sig", "X-Amz-Signature",
        "X-Amz-Security-Token", "X-Goog-Credential",
    ],
)  # fmt: skip
def test_recording_masks_parameters_that_are_secret_by_their_name(name):
    """In an address even those that are columns in data."""
    assert "unknown-to-us" not in rendered((asked(f"x?{name}=unknown-to-us&top=1"), answered()))


@pytest.mark.parametrize("name", ["X-Auth-Token", "X-CSRF-Token", "Session-Id", "X-Api-Key", "X-Client-Secret"])
def test_recording_has_no_header_that_is_secret_by_its_name(name):
    """Of an answer; of a request it has none that is not known to be harmless."""
    assert "unknown-to-us" not in rendered((asked(), answered(**{name: "unknown-to-us"})))


def test_recording_has_no_params_that_are_secret_by_their_name_and_every_place():
    """A param called token is a credential, a cursor called token a place that the next request needs."""
    params = {"password": "unknown-to-us", "token": "unknown-to-us"}
    run = {"params": params, "cursor": {"token": "page-7", "next": f"{BASE}?access_token=unknown-to-us"}}
    text = rendered((asked(), answered()), run=run)
    assert ("unknown-to-us" in text, yaml.safe_load(text)["run"]["cursor"]["token"]) == (False, "page-7")


def test_recording_has_no_credentials_of_an_address():
    """Neither user nor password."""
    text = rendered((Asked("GET", "https://user:unknown-to-us@api.example.com/x", {}, None), answered()))
    assert ("unknown-to-us" in text, "https://api.example.com/x" in text) == (False, True)


def test_recording_keeps_data_that_only_looks_like_a_parameter(recorded):
    """An invoice has a state, a country a code, a row a key."""
    rows = [{"id": 1, "state": "open", "code": "NZ", "key": "K-1", "nonce_count": 2}]
    path = recorded((asked(), answered(json.dumps(rows).encode())))
    result = run_job(lambda ctx: ctx.emit("t", ctx.get("invoices").json()), recording=path)
    assert result.rows["t"] == rows


def test_recording_keeps_the_bytes_of_what_is_no_text(recorded):
    """An image, say."""
    image = bytes(range(256))
    path = recorded((asked("logo"), answered(image, kind="image/png")))
    result = run_job(lambda ctx: ctx.emit("t", {"image": ctx.get("logo").content}), recording=path)
    assert result.rows["t"] == [{"image": image}]


def test_recording_keeps_what_a_job_reads_of_an_answer(recorded):
    """Status, headers, links; not how the body travelled."""
    found = answered(b"{}", 404, Link=f'<{BASE}x?page=2>; rel="next"', ETag='"7"', Content_Encoding="gzip")
    path = recorded((asked(), found))
    answer = []
    run_job(lambda ctx: answer.append(ctx.session.get(ctx.url("invoices"))), recording=path)
    assert (answer[0].status_code, answer[0].links["next"]["url"], answer[0].headers["ETag"], answer[0].json()) == (
        404,
        f"{BASE}x?page=2",
        '"7"',
        {},
    )


def invoices(ctx):
    """The job of the documentation."""
    for page in ctx.pages("invoices", params={"since": ctx.cursor.get("changed"), **ctx.params}):
        ctx.emit("invoices", page.rows, key="id")
        ctx.checkpoint(changed=page.last("updated_at"))


ROWS = [{"id": 1, "updated_at": "2026-01-01"}, {"id": 2, "updated_at": "2026-01-02"}]


def test_replay_makes_the_same_run_again(recorded):
    """Cursor, params and the API's address are those of the run that was recorded."""
    run = {"api_base": BASE, "cursor": {"changed": "2025"}, "params": {"top": 5}}
    path = recorded((asked("invoices?since=2025&top=5"), answered(json.dumps(ROWS).encode())), run=run)
    result = run_job(invoices, recording=path)
    assert (result.rows, result.cursor) == ({"invoices": ROWS}, {"changed": "2026-01-02"})


def test_replay_of_a_limited_run_ends_where_it_ended(recorded):
    """The page after it was not asked for."""
    body = json.dumps({"data": ROWS, "next": f"{BASE}invoices?page=2"}).encode()
    path = recorded((asked(), answered(body)), run={"api_base": BASE, "limit": 1})
    assert run_job(invoices, recording=path).rows == {"invoices": ROWS[:1]}


def test_replay_finds_a_request_whose_secrets_were_masked(recorded):
    """It is masked in the same way when it is asked for."""
    sent = {"Content-Type": "application/x-www-form-urlencoded"}
    known = quote_plus(TOKEN)
    path = recorded((asked(f"x?api_key={known}", "POST", f"access_token={known}".encode(), **sent), answered()))
    answers = []
    run_job(
        lambda ctx: answers.append(ctx.session.post(ctx.url("x?api_key=another"), data={"access_token": "of-a-test"})),
        recording=path,
    )
    assert answers[0].status_code == 200


def test_replay_answers_by_the_body_of_a_request(recorded):
    """As an API does that is asked in JSON."""
    one, two = (
        (asked("q", "POST", json.dumps({"page": page}).encode(), Content_Type="application/json"), answered(body))
        for page, body in ((1, b'["a"]'), (2, b'["b"]'))
    )
    path = recorded(one, two)
    found = []
    run_job(
        lambda ctx: found.extend(ctx.session.post(ctx.url("q"), json={"page": page}).text for page in (2, 1)),
        recording=path,
    )
    assert found == ['["b"]', '["a"]']


def test_replay_says_what_was_recorded(recorded):
    """A job that asks otherwise than it did is recorded again."""
    path = recorded((asked("invoices?since=1"), answered()))
    with pytest.raises(UnexpectedRequest, match=r"GET .*/bills is not in .*recording\.yaml") as caught:
        run_job(lambda ctx: ctx.get("bills"), recording=path)
    assert f"GET {BASE}invoices?since=1" in str(caught.value)


def test_replay_answers_each_exchange_once(recorded):
    """Asked twice, it was recorded twice."""
    path = recorded((asked(), answered()))
    with pytest.raises(UnexpectedRequest, match="any more"):
        run_job(lambda ctx: [ctx.get("invoices"), ctx.get("invoices")], recording=path)


@pytest.mark.parametrize("text", ["", "[]", "interactions: 7\nversion: 1", "{", "a: !!python/object:os.system x"])
def test_replay_refuses_what_is_no_recording(text, tmp_path):
    """With how to make one."""
    path = tmp_path / "recording.yaml"
    path.write_text(text)
    with pytest.raises(Misconfigured, match=r"recording\.yaml is no recording") as caught:
        run_job(invoices, recording=path)
    assert "--record" in caught.value.hint


def test_replay_of_a_file_that_is_not_there_says_so(tmp_path):
    """And how to make it."""
    with pytest.raises(Misconfigured, match="cannot be read: No such file") as caught:
        run_job(invoices, recording=tmp_path / "none.yaml")
    assert "--record" in caught.value.hint


def test_replay_takes_no_responses_beside_it(recorded):
    """One of the two."""
    with pytest.raises(TypeError, match="not both"):
        run_job(invoices, recording=recorded(), responses={"/x": 204})


def test_recording_without_its_part_says_what_to_install(monkeypatch):
    """An extra, for those who record and replay."""
    monkeypatch.setitem(sys.modules, "vcr.cassette", None)
    with pytest.raises(Misconfigured, match="need vcrpy") as caught:
        rendered()
    assert caught.value.hint == 'pip install "headless-worker[recording]"'
