"""Settings are read once and every problem is told at once."""

import pytest
from linnet_runtime.errors import InvalidInput
from linnet_runtime.settings import ServiceSettings


class Settings(ServiceSettings):
    model_config = ServiceSettings.env("LINNET_TESTING_")

    port: int = 0
    secret: str


def test_values_come_from_the_environment(monkeypatch):
    """Variables with the prefix fill the fields."""
    monkeypatch.setenv("LINNET_TESTING_PORT", "81")
    monkeypatch.setenv("LINNET_TESTING_SECRET", "s")

    assert Settings.read() == Settings(port=81, secret="s")


def test_a_secret_may_come_from_a_file(monkeypatch, tmp_path):
    """`..._FILE` names a file that holds the value."""
    (tmp_path / "secret").write_text("from-file\n")
    monkeypatch.setenv("LINNET_TESTING_SECRET_FILE", str(tmp_path / "secret"))

    assert Settings.read().secret == "from-file"


def test_every_problem_is_named(monkeypatch):
    """A typo, a wrong value and a missing value are all told, by variable."""
    monkeypatch.setenv("LINNET_TESTING_PROT", "81")
    monkeypatch.setenv("LINNET_TESTING_PORT", "many")

    with pytest.raises(InvalidInput) as caught:
        Settings.read()

    assert {v.field for v in caught.value.violations} == {
        "LINNET_TESTING_PROT",
        "LINNET_TESTING_PORT",
        "LINNET_TESTING_SECRET",
    }
