"""Files and secrets that the file names are where it says, or the sentence says what is missing."""

from pathlib import Path

import pytest

from socks5.app.config.files import FileFrom, FilePath, SecretFrom


def test_a_path_is_relative_to_the_folder_of_the_file(tmp_path: Path) -> None:
    assert FileFrom().read("users").path("/etc/socks5") == "/etc/socks5/users"
    assert FileFrom().read({"file": "/users"}).path("/etc/socks5") == "/users"


def test_a_credential_is_one_of_systemds(monkeypatch: pytest.MonkeyPatch) -> None:
    said = FileFrom().read({"credential": "users"})
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(ValueError, match=r"starts with LoadCredential=users:FILE"):
        said.path("/etc")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/x")
    assert said.path("/etc") == "/run/credentials/x/users"


def test_a_secret_is_where_it_is_said_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_bytes(b"hush \xc3\xa4\r\n")
    monkeypatch.setenv("SECRET", "hush")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    folder = str(tmp_path)
    assert SecretFrom().read({"file": "secret"}).reveal(folder) == "hush \u00e4"
    assert SecretFrom().read({"credential": "secret"}).reveal("/") == "hush \u00e4"
    assert SecretFrom().read({"env": "SECRET"}).reveal("/") == "hush"
    assert SecretFrom().read("hush").reveal("/") == "hush"


def test_a_secret_that_is_missing_or_empty_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "octets").write_bytes(b"\xff")
    monkeypatch.delenv("SECRET", raising=False)
    monkeypatch.setenv("OCTETS", "\udcff")
    for said, words in (
        (
            {"file": "none"},
            f"expected a file that can be read, got {tmp_path}/none (No such file or directory)",
        ),
        ({"file": "empty"}, f"expected a secret in {tmp_path}/empty, which is empty or missing"),
        ({"file": "octets"}, f"expected UTF-8 in {tmp_path}/octets"),
        ({"env": "OCTETS"}, "expected UTF-8 in the environment variable OCTETS"),
        (
            {"env": "SECRET"},
            "expected a secret in the environment variable SECRET, which is empty or missing",
        ),
    ):
        with pytest.raises(ValueError, match="expected") as raised:
            SecretFrom().read(said).reveal(str(tmp_path))
        assert str(raised.value) == words


def test_where_it_is_can_be_shown_and_a_secret_cannot() -> None:
    for kind in (FileFrom(), SecretFrom()):
        assert kind.show(kind.read({"credential": "a"})) == {"credential": "a"}
        assert kind.schema()
    assert repr(SecretFrom().read({"env": "A"})) == '{ env = "A" }'
    assert SecretFrom().show(SecretFrom().read("hush")) == "(hidden)"
    assert FilePath("off").show("off") == "off"
