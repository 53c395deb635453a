"""API keys: their form, where they are kept, and that they count exactly as long as their record says."""

import json
import os
import secrets
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecourt import ApiKey, ApiKeys, ConfigError, Security, StoreDown
from forecourt.auth import api_keys
from forecourt.cli import main
from forecourt.core.api_key import ALPHABET, hashed, id_of, made
from forecourt.key_book import FileBook, StoreBook, create, rotate
from forecourt.stores.contract import Answer, Question, Settlement, Store
from forecourt.stores.memory import MemoryStore
from forecourt.stores.redis.client import Client
from forecourt.stores.redis.store import RedisStore
from tests.auth.service import Guarded, challenges, problem
from tests.servers import Valkey

PEPPER = "a pepper of more than thirty-two characters"
on_both = pytest.mark.parametrize("store", ["memory", pytest.param("valkey", marks=pytest.mark.valkey)], indirect=True)


@pytest.fixture
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    """An empty store of each kind, open."""
    if request.param == "memory":
        yield MemoryStore()
        return
    served = RedisStore(Client(request.getfixturevalue("valkey").url, deadline=5))
    await served.open()
    yield served
    await served.close()


def kept(text: str, pepper: str | None = None, **record: object) -> ApiKey:
    """Return the record of a key."""
    return ApiKey.model_validate({"id": text.split("_")[1], "hash": hashed(text, pepper), "owner": "bob", **record})


@given(st.integers(0, 57), st.sampled_from(ALPHABET + "_-é "))
def test_a_typo_is_told_without_a_look_up(place: int, letter: str) -> None:
    """A key has its id in the middle; changed in one place, it has none."""
    text = made("fc", secrets.choice)
    assert len(text) == 54
    assert id_of(text, "fc") == text.split("_")[1]
    assert id_of(text, "other") is None
    changed = text[:place] + letter + text[place + 1 :]
    assert id_of(changed, "fc") is None or changed == text


async def test_a_key_says_who_is_calling() -> None:
    """With the scopes, roles, tenant and tier of its record; scopes that it lacks are refused, and other prefixes."""
    text = made("fc", secrets.choice)
    record = kept(text, scopes=["read"], roles=["r"], tenant="acme", tier="gold")
    service = Guarded(Security(scopes={"read"}), api_keys=ApiKeys(keys=[record]), issuers=())
    answer = await service.showing({"X-API-Key": text})
    assert answer.status == 200
    assert json.loads(answer.body) | {"name": "bob", "tenant": "acme", "tier": "gold"} == json.loads(answer.body)
    assert challenges(await service.showing()) == ['ApiKey realm="api", header="X-API-Key"']
    ours = made("acme", secrets.choice)
    named = Guarded(api_keys=ApiKeys(keys=[kept(text), kept(ours)], prefix="acme"))
    assert [(await named.showing({"x-api-key": each})).status for each in (ours, text)] == [200, 401]
    lacking = Guarded(Security(scopes={"write"}), api_keys=ApiKeys(keys=[record]), issuers=())
    refused = await lacking.showing({"x-api-key": text})
    assert (refused.status, challenges(refused)) == (403, [])


async def test_a_key_counts_only_where_keys_do() -> None:
    """Whoever is known at once, by a key or a token seen before, is refused where that way does not count."""
    text = made("fc", secrets.choice)
    keys = ApiKeys(keys=[kept(text, scopes=["read"])])
    shown = {"x-api-key": text}
    by_key = Guarded(Security(scopes={"read"}, schemes={"api_key"}), api_keys=keys)
    by_token = Guarded(Security(scopes={"read"}, schemes={"bearer"}), api_keys=keys)
    token = by_key.token(scopes={"read"})
    for _ in range(2):
        assert ((await by_key.showing(shown)).status, (await by_key.bearing(token)).status) == (200, 401)
        assert ((await by_token.showing(shown)).status, problem(await by_token.showing(shown))) == (
            401,
            "invalid-credentials",
        )


async def test_a_bad_key_is_refused() -> None:
    """Another secret, another id, another prefix, rubbish; and two credentials at once."""
    text, other = (made("fc", secrets.choice) for _ in range(2))
    service = Guarded(api_keys=ApiKeys(keys=[kept(text)]))
    forged = made("fc", secrets.choice, id=text.split("_")[1])
    for bad in (other, forged, made("xx", secrets.choice), "rubbish", "", text + "x", "é" * 300):
        answer = await service.showing({"x-api-key": bad})
        assert (answer.status, problem(answer)) == (401, "invalid-credentials"), bad
    both = {"x-api-key": text, "authorization": f"Bearer {service.token()}"}
    assert (await service.showing(both)).status == 400
    assert (await service.showing([("x-api-key", text)] * 2)).status == 400


async def test_a_key_ends_when_its_record_says() -> None:
    """To the second; and a pepper that differs makes it worthless."""
    text = made("fc", secrets.choice)
    ends = datetime.fromtimestamp(1_700_000_060, UTC)
    service = Guarded(api_keys=ApiKeys(keys=[kept(text, PEPPER, expires=ends)], pepper=PEPPER))
    service.clock.advance(59.999999)
    assert (await service.showing({"x-api-key": text})).status == 200
    service.clock.advance(0.000001)
    assert (await service.showing({"x-api-key": text})).status == 401
    plain = Guarded(api_keys=ApiKeys(keys=[kept(text, PEPPER)], pepper=PEPPER[::-1]))
    assert (await plain.showing({"x-api-key": text})).status == 401


async def test_a_file_is_read_again_when_it_changes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A key that is created counts within a second, one that is dropped does not; a broken file changes nothing."""
    path = tmp_path / "keys.json"
    policy = ApiKeys(file=str(path))
    book = FileBook(path)
    first, record = await create(book, policy, "bob")
    service = Guarded(api_keys=policy)
    assert (await service.showing({"x-api-key": first})).status == 200
    second, _ = await create(book, policy, "carol", tier="gold")
    assert (await service.showing({"x-api-key": second})).status == 401
    service.clock.advance(1)
    assert json.loads((await service.showing({"x-api-key": second})).body)["tier"] == "gold"
    path.write_text("broken")
    service.clock.advance(1)
    assert (await service.showing({"x-api-key": second})).status == 200
    assert "is not JSON; the keys read before hold on" in caplog.text
    path.unlink()
    service.clock.advance(1)
    assert (await service.showing({"x-api-key": second})).status == 200
    for each in (first, second):
        path.unlink(missing_ok=True)
        assert each.split("_")[2] not in caplog.text
    await book.put(record)
    assert path.stat().st_mode & 0o077 == 0
    await book.drop(record.id)
    service.clock.advance(1)
    assert (await service.showing({"x-api-key": first})).status == 401
    assert await book.all() == []


async def test_a_file_that_has_not_changed_is_not_read_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its size and its time of change say so: who keeps both is not noticed."""
    path = tmp_path / "keys.json"
    policy = ApiKeys(file=str(path))
    text, _ = await create(FileBook(path), policy, "bob")
    service = Guarded(api_keys=policy)
    assert (await service.showing({"x-api-key": text})).status == 200
    stamp = path.stat()
    path.write_text("x" * stamp.st_size)
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    service.clock.advance(1)
    assert (await service.showing({"x-api-key": text})).status == 200
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("rubbish", "is not JSON"),
        ('[{"id": "x"}]', "must be the middle part of the key"),
        (None, "cannot be read"),
    ],
)
async def test_a_bad_file_stops_the_start(tmp_path: Path, text: str | None, line: str) -> None:
    """With a line that says what is wrong."""
    path = tmp_path / "keys.json"
    if text is not None:
        path.write_text(text.replace('"x"}', '"x", "hash": "y", "owner": "z"}'))
    with pytest.raises(ConfigError, match=line):
        await Guarded(api_keys=ApiKeys(file=str(path))).showing()


@on_both
async def test_keys_in_the_store(store: Store) -> None:
    """Created, rotated with an overlap, listed and dropped; a process believes what it was told for `ttl`."""
    policy = ApiKeys(store=True, ttl=5)
    book = StoreBook(store)
    text, record = await create(book, policy, "bob", scopes={"read"}, roles={"r"}, tenant="acme")
    service = Guarded(api_keys=policy, store=store)
    assert (await service.showing({"x-api-key": made("fc", secrets.choice)})).status == 401
    assert json.loads((await service.showing({"x-api-key": text})).body)["tenant"] == "acme"
    forged = made("fc", secrets.choice, id=record.id)
    assert (await service.showing({"x-api-key": forged})).status == 401
    later = datetime.fromtimestamp(1_700_000_030, UTC)
    newer, replaced = await rotate(book, policy, record.id, until=later)
    assert (replaced.owner, replaced.scopes, replaced.roles, replaced.tenant) == ("bob", {"read"}, {"r"}, "acme")
    assert {each.id for each in await book.all()} == {record.id, replaced.id}
    assert (await service.showing({"x-api-key": newer})).status == 200
    service.clock.advance(29)
    assert (await service.showing({"x-api-key": text})).status == 200
    service.clock.advance(1)
    assert (await service.showing({"x-api-key": text})).status == 401
    await book.drop(replaced.id)
    assert (await service.showing({"x-api-key": newer})).status == 401
    with pytest.raises(KeyError):
        await rotate(book, policy, replaced.id)
    fresh, another = await create(book, policy, "carol")
    assert (await service.showing({"x-api-key": fresh})).status == 200
    await rotate(book, policy, another.id)
    assert (await service.showing({"x-api-key": fresh})).status == 200
    service.clock.advance(5)
    assert (await service.showing({"x-api-key": fresh})).status == 401


async def test_remembered_keys_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest is forgotten, so that the store is asked again; the others are believed on."""
    monkeypatch.setattr(api_keys, "_MOST_KNOWN", 1)
    store = MemoryStore()
    policy, book = ApiKeys(store=True), StoreBook(store)
    service = Guarded(api_keys=policy, store=store)
    made_ = [await create(book, policy, owner) for owner in ("bob", "carol")]
    assert [(await service.showing({"x-api-key": text})).status for text, _ in made_] == [200, 200]
    for _, record in made_:
        await book.drop(record.id)
    assert [(await service.showing({"x-api-key": text})).status for text, _ in made_] == [401, 200]


class Gone:
    """A store that does not answer, or answers by a failure policy, or with rubbish."""

    def __init__(self, answer: Answer | None) -> None:
        self.answer = answer

    async def open(self) -> None:
        """Nothing."""

    async def close(self) -> None:
        """Nothing."""

    async def decide(self, questions: Sequence[Question]) -> list[Answer]:
        """Answer so, or not at all."""
        if self.answer is None:
            raise StoreDown("gone")
        return [self.answer] * len(questions)

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Nothing."""


@pytest.mark.parametrize(
    ("answer", "status"),
    [(None, 503), (Answer("refuse", degraded=True), 503), (Answer("go", (b"rubbish",)), 401)],
)
async def test_a_store_that_does_not_answer(answer: Answer | None, status: int) -> None:
    """503, as nobody can tell; a record that cannot be read is none."""
    service = Guarded(api_keys=ApiKeys(store=True), store=Gone(answer))
    assert (await service.showing({"x-api-key": made("fc", secrets.choice)})).status == status


async def test_a_book_that_does_not_answer_is_not_empty() -> None:
    """Operators are told that the keys are not known, also where a failure policy answers."""
    for answer in (None, Answer("refuse", degraded=True)):
        with pytest.raises(StoreDown):
            await StoreBook(Gone(answer)).all()


@pytest.mark.valkey
def test_the_commands(valkey: Valkey, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`forecourt keys` on a file and on the store; nothing but the new key itself is ever printed of a secret."""
    config = tmp_path / "policies.toml"
    told = ["--config", str(config)]
    own = ""
    for where in (f'file = "{tmp_path}/keys.json"', "store = true"):
        config.write_text(f'store = "{valkey.url}"\nrevocation = true\n[api_keys]\n{where}\n[endpoints]\n')
        made_ = ["keys", "create", "bob", "--scope", "read", "--role", "r", "--tier", "gold", "--days", "9", *told]
        assert main(made_) == 0
        text = capsys.readouterr().out.strip()
        own = id_of(text, "fc") or ""
        assert main(["keys", "rotate", own, "--overlap", "1", *told]) == 0
        assert main(["keys", "rotate", "nothing", *told]) == 2
        capsys.readouterr()
        assert main(["keys", "list", *told]) == 0
        listed = capsys.readouterr().out
        assert listed.count("bob  tier=gold  scope=read  role=r  until=") == 2
        assert text.split("_")[2] not in listed
        assert main(["keys", "revoke", own, *told]) == 0
        assert main(["revoke", "token", "api-key", own, *told]) == 0
        assert main(["revoke", "subject", "api-key", "bob", *told]) == 0
        capsys.readouterr()
    inline = f'[[api_keys.keys]]\nid = "{own}"\nhash = "{"0" * 64}"\nowner = "o"\n'
    for lines in ("", "[api_keys]\nstore = true\n", inline):
        config.write_text(f"{lines}[endpoints]\n")
        assert main(["keys", "list", *told]) == 2
        assert main(["revoke", "token", "a", "b", *told]) == 2
    assert "api_keys: the keys stand in the config itself" in capsys.readouterr().err


def test_a_key_without_an_end_is_listed_without_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Beside one that has one, which is told to the second."""
    path, config = tmp_path / "keys.json", tmp_path / "policies.toml"
    config.write_text(f'[api_keys]\nfile = "{path}"\n[endpoints]\n')
    lasting, ending = (made("fc", secrets.choice) for _ in range(2))
    ends = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
    path.write_text(api_keys.written([kept(lasting), kept(ending, expires=ends)]))
    assert main(["keys", "list", "--config", str(config)]) == 0
    lines = [f"{id_of(lasting, 'fc')}  bob", f"{id_of(ending, 'fc')}  bob  until=2030-01-02T03:04:05Z"]
    assert capsys.readouterr().out.splitlines() == sorted(lines)
