"""`forecourt secrets`: keys are made, and told by their ids."""

from pathlib import Path

import pytest

from forecourt.cli import main
from forecourt.policies.keys import KeyRing

APP = """
from starlette.applications import Starlette
from starlette.routing import Route
from forecourt import Encryption, EndpointPolicy, JobConfig, PolicyMiddleware
async def answer(request): ...
config = JobConfig(endpoints={{"a": EndpointPolicy(encryption=Encryption(at_rest={sealed}))}},
                   default=EndpointPolicy(), keys={keys})
app = Starlette(routes=[Route("/a", answer, name="a"), Route("/b", answer, name="b")])
app.add_middleware(PolicyMiddleware, config=config)
"""


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """Return the name of a module with an app; a test gives (its keys, whether an endpoint is sealed)."""
    keys, sealed = request.param
    name = f"sealed_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(APP.format(keys=keys, sealed=sealed))
    monkeypatch.chdir(tmp_path)
    return name


def test_new_prints_a_key_that_a_config_takes(capsys: pytest.CaptureFixture[str]) -> None:
    """Each time another one, of at least 32 bytes."""
    printed = []
    for _ in range(2):
        assert main(["secrets", "new"]) == 0
        printed.append(capsys.readouterr().out.strip())
    assert all(len(each.encode()) >= 32 for each in printed)
    assert len(set(printed)) == 2


@pytest.mark.parametrize("service", [([b"n" * 32, b"o" * 32], True)], indirect=True)
def test_check_says_which_keys_there_are(service: str, capsys: pytest.CaptureFixture[str]) -> None:
    """By id and in order, with what each does; never a key."""
    assert main(["secrets", "check", f"{service}:app"]) == 0
    first, second = KeyRing([b"n" * 32, b"o" * 32]).ids()
    assert capsys.readouterr().out == (
        f"{first}  seals and signs, opens and verifies\n{second}  opens and verifies\nsealed at rest: a\n"
    )


@pytest.mark.parametrize("service", [([b"n" * 32], False)], indirect=True)
def test_check_says_what_is_missing(
    service: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """That nothing is sealed, and that the cipher is not there."""
    monkeypatch.setattr("forecourt.cli_secrets.installed", lambda: False)
    assert main(["secrets", "check", f"{service}:app"]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        "sealed at rest: nothing",
        "cryptography is not installed: pip install 'forecourt[encryption]'",
    ]


@pytest.mark.parametrize("service", [(None, False)], indirect=True)
def test_check_without_keys(service: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It says so, and exits 1."""
    assert main(["secrets", "check", f"{service}:app"]) == 1
    assert capsys.readouterr().out == 'the config has no keys: say keys = ["env:NAME"]\n'
