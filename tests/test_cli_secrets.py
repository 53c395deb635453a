"""`forecourt secrets`: keys are made, and told by their ids."""

import json
from pathlib import Path

import pytest

from forecourt import ConfigError, JobConfig
from forecourt.cli import main
from forecourt.payload.keys import KINDS, opener, sealer
from forecourt.policies.encryption import Format
from forecourt.policies.keys import KeyRing
from forecourt.policies.payload_keys import PRIVATE

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


def rotated(path: Path, *step: str) -> int:
    """Run one step of a rotation."""
    return main(["secrets", "rotate", str(path), *step])


def test_a_rotation_step_by_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The file is made, readable for its owner only, and a config that names it has the keys in its order."""
    path = tmp_path / "ring"
    assert rotated(path, "add") == rotated(path, "add") == rotated(path, "use") == 0
    assert path.stat().st_mode & 0o777 == 0o600
    ids = JobConfig(keys=[f"file:{path}"]).key_ring.ids()  # type: ignore[union-attr]  # it has keys
    said = capsys.readouterr().out.splitlines()
    assert said[-3:] == [
        f"{ids[0]}  seals and signs, opens and verifies",
        f"{ids[1]}  opens and verifies",
        "next: have all processes read it again; when the longest ttl has passed: retire the old one",
    ]
    assert said[0].startswith(ids[1]), "the first was another"
    assert rotated(path, "retire", ids[1]) == 0
    config = tmp_path / "policies.toml"
    config.write_text('keys = ["file:ring"]\n[default]\n')
    ring = JobConfig.from_file(config).key_ring
    assert ring is not None
    assert ring.ids() == ids[:1]


@pytest.mark.parametrize(
    ("step", "sentence"),
    [
        (["use"], "there is one key, which seals already; add a new one first"),
        (["use", "abcd"], "retire takes the id of a key, add and use take none"),
        (["retire"], "retire takes the id of a key, add and use take none"),
        (["retire", "abcd"], "there is no key abcd; there are "),
    ],
)
def test_steps_that_cannot_be(
    step: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are told, and the file stays as it is."""
    path = tmp_path / "ring"
    rotated(path, "add")
    before = path.read_bytes()
    assert rotated(path, *step) == 2
    assert sentence in capsys.readouterr().err
    assert path.read_bytes() == before


def test_files_that_are_no_rings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A single secret is not overwritten, what is not there is made by add only, and an empty ring is no ring."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"s" * 32)
    assert rotated(secret, "add") == rotated(tmp_path / "none", "use") == 2
    assert secret.read_bytes() == b"s" * 32
    assert "is no ring file" in capsys.readouterr().err
    secret.write_bytes(b"forecourt key ring 1\n")
    with pytest.raises(ConfigError, match="the ring file holds no key"):
        JobConfig(keys=[f"file:{secret}"])
    secret.write_bytes(b"forecourt key ring 1\nshort\n")
    with pytest.raises(ConfigError, match="a secret of 5 bytes is not allowed"):
        JobConfig(keys=[f"file:{secret}"])


@pytest.mark.parametrize("kind", KINDS)
def test_keys_for_contents(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A private one is made, and its public half shown; what the one seals the other opens."""
    assert main(["secrets", "new", "--jwk", kind, "--kid", "one"]) == 0
    private = capsys.readouterr().out
    (tmp_path / "key").write_text(private)
    assert main(["secrets", "public", str(tmp_path / "key")]) == 0
    public = json.loads(capsys.readouterr().out)
    assert public["kid"] == "one"
    assert not PRIVATE & public.keys()
    form: Format = "hpke" if kind in ("hpke", "hybrid") else "jwe"
    message = sealer(form, public).seal({}, b"content")
    assert opener(form, [json.loads(private)]).open(message).content == b"content"


def test_the_public_half_of_what_is_no_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is told; a secret that is shared has none; of a set all halves are shown."""
    assert main(["secrets", "public", str(tmp_path / "none")]) == 2
    assert "cannot be read" in capsys.readouterr().err
    (tmp_path / "shared").write_text('{"kty": "oct", "k": "a"}')
    assert main(["secrets", "public", str(tmp_path / "shared")]) == 2
    assert "a secret that is shared has no public half" in capsys.readouterr().err
    (tmp_path / "set").write_text('{"keys": [{"kty": "oct", "k": "a"}, {"kty": "RSA", "d": "a"}, {"kty": "OKP"}]}')
    assert main(["secrets", "public", str(tmp_path / "set")]) == 0
    assert json.loads(capsys.readouterr().out) == {"keys": [{"kty": "RSA"}, {"kty": "OKP"}]}


END_TO_END = """
import json
from starlette.applications import Starlette
from starlette.routing import Route
from forecourt import Encryption, EndpointPolicy, JobConfig, PayloadKeys, PolicyMiddleware
async def answer(request): ...
config = JobConfig(endpoints={"a": EndpointPolicy(encryption=Encryption(request="required"))},
                   default=EndpointPolicy(), payload_keys=PayloadKeys(own=["file:key"]))
app = Starlette(routes=[Route("/a", answer, name="a"), Route("/b", answer, name="b")])
app.add_middleware(PolicyMiddleware, config=config)
"""


def test_check_says_what_opens_contents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the key's id, and which endpoints are sealed from end to end."""
    monkeypatch.chdir(tmp_path)
    assert main(["secrets", "new", "--jwk", "x25519", "--kid", "one"]) == 0
    (tmp_path / "key").write_text(capsys.readouterr().out)
    (tmp_path / "end_to_end_app.py").write_text(END_TO_END)
    assert main(["secrets", "check", "end_to_end_app:app"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "one  opens contents (OKP)",
        "sealed at rest: nothing",
        "sealed from end to end: a (jwe)",
    ]
