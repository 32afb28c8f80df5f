from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.config.secret_files import Mount, is_private, mount_of, read_private_file
from worker.config.secrets import SecretSource
from worker.errors import Misconfigured
from worker.redact import Secret

PLACE = "integrations.arlo.client_secret_file"


def private(path: Path, content: bytes = b"hunter2hunter2\n", mode: int = 0o600) -> Path:
    """A file with that mode."""
    path.write_bytes(content)
    path.chmod(mode)
    return path


def source(name: str) -> SecretSource:
    """A file source."""
    return SecretSource("file", name, PLACE)


def test_secret_file_is_read_beside_the_config(tmp_path):
    """A relative name counts from the config file's folder; the last line break is not part of the secret."""
    private(tmp_path / "arlo.secret")
    assert source("arlo.secret").read({}, tmp_path) == Secret("hunter2hunter2")


def test_secret_file_is_read_by_its_absolute_name(tmp_path):
    """An absolute name is taken as it is."""
    file = private(tmp_path / "arlo.secret", b"two\nlines\r\n")
    assert source(str(file)).read({"CREDENTIALS_DIRECTORY": "/nowhere"}, Path("/")).reveal() == "two\nlines"


def test_secret_file_of_systemd_comes_first(tmp_path):
    """$CREDENTIALS_DIRECTORY is searched first, and its modes are systemd's business."""
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    private(tmp_path / "arlo.secret")
    private(credentials / "arlo.secret", b"from systemd", mode=0o440)
    environ = {"CREDENTIALS_DIRECTORY": str(credentials)}
    assert source("arlo.secret").read(environ, tmp_path).reveal() == "from systemd"


def test_secret_file_missing_from_systemd_is_sought_beside_the_config(tmp_path):
    """A service may have some credentials and some files."""
    private(tmp_path / "arlo.secret")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")}
    assert source("arlo.secret").read(environ, tmp_path).reveal() == "hunter2hunter2"


@pytest.mark.parametrize(
    ("mode", "what"),
    [
        (0o644, "mode 0644, so others may read it"),
        (0o640, "mode 0640, so others may read it"),
        (0o604, "mode 0604, so others may read it"),
        (0o666, "mode 0666, so others may read and change it"),
        (0o620, "mode 0620, so others may change it"),
        (0o701, "mode 0701, so others may run it"),
    ],
)
def test_secret_file_open_to_others_is_refused(tmp_path, mode, what):
    """Place, mode and the command that mends it; not the secret."""
    file = private(tmp_path / "arlo.secret", mode=mode)
    with pytest.raises(Misconfigured) as caught:
        source("arlo.secret").read({}, tmp_path)
    assert caught.value.message == f"{PLACE}: {file} has {what}"
    assert caught.value.hint == f"chmod 600 {file}"


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_secret_file_of_its_owner_alone_is_read(tmp_path, mode):
    """What only the owner may do is the owner's business."""
    private(tmp_path / "s", mode=mode)
    assert source("s").read({}, tmp_path)


def test_secret_link_is_judged_by_its_target(tmp_path):
    """A private-looking link helps nobody."""
    private(tmp_path / "open", mode=0o644)
    (tmp_path / "link").symlink_to("open")
    with pytest.raises(Misconfigured, match="mode 0644"):
        source("link").read({}, tmp_path)


def test_secret_link_out_of_systemds_folder_is_not_exempt(tmp_path):
    """The exemption is for what lies there, not for what is pointed at from there."""
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    private(tmp_path / "open", mode=0o644)
    (credentials / "link").symlink_to("../open")
    with pytest.raises(Misconfigured, match="mode 0644"):
        source("link").read({"CREDENTIALS_DIRECTORY": str(credentials)}, tmp_path)


def test_secret_file_missing_is_named(tmp_path):
    """The whole path, so that a wrong folder shows."""
    with pytest.raises(Misconfigured, match=f"^{PLACE}: {tmp_path}/gone does not exist"):
        source("gone").read({}, tmp_path)


def test_secret_folder_is_refused(tmp_path):
    """A folder is no secret."""
    with pytest.raises(Misconfigured, match="is not a regular file"):
        source(".").read({}, tmp_path)


def test_secret_pipe_is_refused_without_waiting(tmp_path):
    """Opening a named pipe would wait for a writer for ever."""
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(Misconfigured, match="is not a regular file"):
        source("pipe").read({}, tmp_path)


def test_secret_file_empty_is_refused(tmp_path):
    """An empty secret is a mistake, found before the provider finds it."""
    private(tmp_path / "s", b"\n")
    with pytest.raises(Misconfigured, match="is empty"):
        source("s").read({}, tmp_path)


def test_secret_file_too_large_is_refused(tmp_path):
    """Somebody named the database."""
    private(tmp_path / "s", b"x" * 70_000)
    with pytest.raises(Misconfigured, match="larger than 64 KiB"):
        source("s").read({}, tmp_path)


def test_secret_file_that_is_no_text_is_refused(tmp_path):
    """Bytes that are no UTF-8, unquoted."""
    private(tmp_path / "s", b"\xff\xfe\x00")
    with pytest.raises(Misconfigured, match="is not UTF-8 text"):
        source("s").read({}, tmp_path)


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b"])
def test_secret_file_with_an_impossible_name_is_refused(tmp_path, name):
    """No name brings anything but Misconfigured."""
    with pytest.raises(Misconfigured):
        source(name).read({"CREDENTIALS_DIRECTORY": str(tmp_path)}, tmp_path)


def test_secret_file_of_somebody_else_says_who_is_asking(tmp_path):
    """A file we may not open."""
    if os.access(private(tmp_path / "s", mode=0), os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(Misconfigured, match="may not be read by user"):
        source("s").read({}, tmp_path)


@pytest.mark.parametrize("environ", [{}, {"ARLO": ""}, {"ARLO": " "}])
def test_secret_variable_missing_is_named(tmp_path, environ):
    """Unset and empty are the same mistake."""
    variable = SecretSource("env", "ARLO", "integrations.arlo.client_secret_env")
    with pytest.raises(Misconfigured, match="client_secret_env: the environment variable ARLO is not set"):
        variable.read(environ, tmp_path)


def test_secret_variable_is_read_from_what_is_handed_in(tmp_path):
    """The process's own environment is not looked at."""
    assert SecretSource("env", "ARLO").read({"ARLO": "abc"}, tmp_path).reveal() == "abc"


def test_credential_is_read_from_systemds_folder_only(tmp_path):
    """`credential` never falls back to a file beside the config."""
    credential = SecretSource("credential", "keyring", "keyring.credential")
    private(tmp_path / "keyring")
    with pytest.raises(Misconfigured, match=r"no \$CREDENTIALS_DIRECTORY") as caught:
        credential.read({}, tmp_path)
    assert "LoadCredential=" in caught.value.hint
    assert credential.read({"CREDENTIALS_DIRECTORY": str(tmp_path)}, Path("/")).reveal() == "hunter2hunter2"


def test_literal_shows_itself_to_nobody(tmp_path):
    """Neither repr nor str of its source."""
    literal = SecretSource("literal", "", "x", literal=Secret("hunter2hunter2"))
    assert "hunter2" not in f"{literal} {literal!r}"
    assert literal.read({}, tmp_path).reveal() == "hunter2hunter2"


KUBERNETES = Mount("/etc/secrets/arlo", "tmpfs", read_only=True)


@pytest.mark.parametrize(
    ("mode", "path", "mount", "accepted"),
    [
        (0o600, "/srv/s", None, True),
        (0o644, "/srv/s", None, False),
        (0o644, "/srv/s", Mount("/srv", "ext4", read_only=True), False),
        (0o444, "/run/secrets/s", Mount("/run/secrets/s", "ext4", read_only=True), True),
        (0o444, "/run/secrets/s", Mount("/run/secrets", "tmpfs", read_only=False), True),
        (0o446, "/run/secrets/s", Mount("/run/secrets", "tmpfs", read_only=False), False),
        (0o444, "/run/secrets-of-others/s", Mount("/run", "tmpfs", read_only=False), False),
        (0o644, "/etc/secrets/arlo/s", KUBERNETES, True),
        (0o440, "/etc/secrets/arlo/s", KUBERNETES, True),
        (0o664, "/etc/secrets/arlo/s", KUBERNETES, False),
        (0o644, "/etc/secrets/arlo/s", Mount("/etc/secrets/arlo", "tmpfs", read_only=False), False),
        (0o644, "/run/worker/s", Mount("/run", "tmpfs", read_only=True), False),
        (0o644, "/run/user/1000/s", Mount("/run/user/1000", "tmpfs", read_only=True), False),
        (0o644, "/tmp/s", Mount("/tmp", "tmpfs", read_only=True), False),
        (0o644, "/dev/shm/s", Mount("/dev/shm", "tmpfs", read_only=True), False),
        (0o644, "/s", Mount("/", "tmpfs", read_only=True), False),
        (0o644, "/run/credentials/worker.service/s", None, True),
        (0o644, "/run/credentials/other.service/s", None, False),
    ],
)
def test_modes_are_judged_by_the_written_rule(mode, path, mount, accepted):
    """The rule of secret_files.py, case by case."""
    credentials = Path("/run/credentials/worker.service")
    assert is_private(mode, Path(path), mount, credentials) is accepted


@given(st.integers(0, 0o777))
def test_modes_of_ordinary_files_admit_the_owner_only(mode):
    """Outside the exemptions nine bits decide."""
    assert is_private(mode, Path("/srv/s"), Mount("/", "ext4", read_only=False), None) is (mode & 0o077 == 0)


def test_mounts_are_found_by_the_longest_point(tmp_path):
    """The last of the deepest mounts wins; escapes of mountinfo are undone; nonsense is passed over."""
    table = tmp_path / "mountinfo"
    table.write_text(
        "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
        "30 22 0:26 / /etc/with\\040space ro,relatime - tmpfs tmpfs rw,size=4k\n"
        "31 22 0:27 / /etc/over rw - ext4 /dev/sdb rw\n"
        "32 31 0:28 / /etc/over rw - ramfs none ro\n"
        "nonsense\n"
    )
    assert mount_of(Path("/etc/with space/s"), table) == Mount("/etc/with space", "tmpfs", read_only=True)
    assert mount_of(Path("/etc/over/s"), table) == Mount("/etc/over", "ramfs", read_only=True)
    assert mount_of(Path("/etc/overt"), table) == Mount("/", "ext4", read_only=False)
    assert mount_of(Path("/x"), tmp_path / "gone") is None


def test_mounts_of_this_machine_are_read():
    """The real table has a root."""
    assert mount_of(Path("/proc/self/status").resolve()) is not None


KUBERNETES_LIKE = """
set -e
mount -t tmpfs tmpfs {folder}
mkdir {folder}/..data_1 && ln -s ..data_1 {folder}/..data && ln -s ..data/s {folder}/s
printf hunter2 > {folder}/..data_1/s && chmod 0644 {folder}/..data_1/s
{before} {python} -c 'import sys; from pathlib import Path; from worker.config.secret_files import read_private_file
sys.stdout.write(read_private_file(Path(sys.argv[1]), "here", {{}}).decode())' {folder}/s
"""


def _in_a_mount_namespace(folder: Path, before: str) -> subprocess.CompletedProcess[str]:
    script = KUBERNETES_LIKE.format(folder=folder, before=before, python=sys.executable)
    return subprocess.run(["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, check=False)


needs_mounts = pytest.mark.skipif(
    subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode != 0,
    reason="may not make mounts here",
)


@needs_mounts
def test_secret_volume_of_kubernetes_is_read_for_real(tmp_path):
    """A read-only tmpfs with its links, mode 0644: what a secret volume looks like from inside a pod."""
    done = _in_a_mount_namespace(tmp_path, f"mount -o remount,ro {tmp_path};")
    assert done.stdout == "hunter2", done.stderr


@needs_mounts
def test_secret_on_a_writable_tmpfs_is_refused_for_real(tmp_path):
    """The same without the read-only mount: anybody's scratch space."""
    done = _in_a_mount_namespace(tmp_path, "")
    assert "has mode 0644, so others may read it" in done.stderr


def test_private_files_are_judged_after_they_are_opened(tmp_path):
    """What is read is what was judged: the mode comes from the descriptor."""
    file = private(tmp_path / "s")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert read_private_file(file, "x", {}) == b"hunter2hunter2\n"
