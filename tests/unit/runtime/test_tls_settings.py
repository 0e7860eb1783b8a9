"""A certificate and its key are given together, and can be used."""

from pathlib import Path

import pytest
from linnet_runtime.errors import InvalidInput
from linnet_runtime.rpc.tls_settings import TlsSettings

from tests.support.certificates import Authority


class Settings(TlsSettings):
    model_config = TlsSettings.env("LINNET_TESTING_")


def test_without_files_a_port_speaks_plain_text() -> None:
    """Both may be left out."""
    assert Settings.read().certificate_files() is None


@pytest.mark.parametrize("given", ["TLS_CERTIFICATE_FILE", "TLS_KEY_FILE"])
def test_half_of_a_pair_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    """Plain text is never served because one of two variables was forgotten."""
    monkeypatch.setenv(f"LINNET_TESTING_{given}", "/run/tls/file")
    with pytest.raises(InvalidInput, match="TLS_CERTIFICATE_FILE and TLS_KEY_FILE go together") as (
        caught
    ):
        Settings.read()
    assert [one.field for one in caught.value.violations] == ["LINNET_TESTING_TLS_KEY_FILE"]


def test_a_pair_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What the files hold is what is shown; the key of another certificate is refused."""
    authority = Authority()
    pair, other = authority.pair("own"), authority.pair("other")
    monkeypatch.setenv("LINNET_TESTING_TLS_CERTIFICATE_FILE", str(tmp_path / "cert"))
    monkeypatch.setenv("LINNET_TESTING_TLS_KEY_FILE", str(tmp_path / "key"))
    settings = Settings.read()
    with pytest.raises(InvalidInput, match="LINNET_TESTING_TLS_CERTIFICATE_FILE"):
        settings.certificate_files()
    (tmp_path / "cert").write_bytes(pair.certificate)
    (tmp_path / "key").write_bytes(other.key)
    with pytest.raises(InvalidInput, match="LINNET_TESTING_TLS_CERTIFICATE_FILE"):
        settings.certificate_files()
    (tmp_path / "key").write_bytes(pair.key)
    files = settings.certificate_files()
    assert files is not None
    assert (files.current().chain, files.current().authorities) == (pair.certificate, None)
