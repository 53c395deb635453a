"""What differs between two configs, and where protection is loosened."""

from pathlib import Path

import pytest

from forecourt.cli import main
from forecourt.config import JobConfig
from forecourt.config_diff import Change, changes
from forecourt.policies.endpoint import EndpointPolicy

LIMIT = {"type": "fixed_window", "limit": 5, "window": 60}

LOOSER: list[tuple[str, object, object, str]] = [
    ("rate_limit", LIMIT, "off", "the policy is removed"),
    ("rate_limit", LIMIT, {**LIMIT, "limit": 6}, "fixed_window: limit raised from 5 to 6"),
    ("rate_limit", LIMIT, {**LIMIT, "window": 30}, "fixed_window: window lowered from 60 to 30"),
    ("rate_limit", LIMIT, {**LIMIT, "shadow": True}, "fixed_window: shadow is true now"),
    ("rate_limit", LIMIT, {**LIMIT, "on_store_error": "open"}, 'on_store_error is "open" now, was "local"'),
    ("rate_limit", LIMIT, {**LIMIT, "tiers": {"gold": {"limit": 50}}}, "tier gold has numbers of its own"),
    (
        "rate_limit",
        {**LIMIT, "tiers": {"gold": {"limit": 50}}},
        {**LIMIT, "tiers": {"gold": {"limit": 60}}},
        "limit raised from 50 to 60",
    ),
    ("rate_limit", {**LIMIT, "tiers": {"gold": {"limit": 2}}}, LIMIT, "tier gold has no numbers of its own any more"),
    ("rate_limit", [LIMIT, {**LIMIT, "limit": 9}], LIMIT, "fixed_window+ is removed"),
    ("rate_limit", LIMIT, {"type": "token_bucket", "max_tokens": 5, "refill_rate": 1}, "fixed_window is removed"),
    ("security", {"scopes": ["a", "b"]}, {"scopes": ["a"]}, "scopes no longer names b"),
    ("security", {"scopes": ["a"]}, {"scopes": ["a"], "match_scopes": "any"}, 'match_scopes is "any" now, was "all"'),
    ("security", {}, {"public": True}, "public is true now"),
    ("security", {"schemes": ["bearer"]}, {"schemes": ["bearer", "api_key"]}, "schemes names api_key too"),
    ("security", {"schemes": ["bearer"]}, {}, "schemes is not asked for any more"),
    ("security", {"max_age": 60}, {"max_age": 90}, "max_age raised from 60 to 90"),
    ("security", {"max_age": 60}, {}, "max_age is not bounded any more"),
    ("security", {"acr": ["gold"]}, {}, "acr is not asked for any more"),
    ("clients", {"deny": ["192.0.2.1"], "allow": ["unix"]}, {"allow": ["unix"]}, "deny no longer names 192.0.2.1"),
    ("max_body", 10, {"size": 20}, "size raised from 10 to 20"),
    ("max_headers", 1000, 2000, "raised from 1000 to 2000"),
    ("credits", {"amount": 5}, {"amount": 4}, "amount lowered from 5 to 4"),
    ("idempotency", {}, {"required": False}, "required is false now"),
    ("cache", {"ttl": 5}, {"ttl": 5, "partition": "everyone"}, 'partition is "everyone" now'),
]

NOT_LOOSER: list[tuple[str, object, object]] = [
    ("rate_limit", "off", LIMIT),
    ("rate_limit", {**LIMIT, "limit": 6}, LIMIT),
    ("rate_limit", LIMIT, {**LIMIT, "window": 90}),
    ("rate_limit", LIMIT, {**LIMIT, "key": "client"}),
    ("security", {"scopes": ["a"]}, {"scopes": ["a", "b"]}),
    ("security", {"max_age": 90}, {"max_age": 60}),
    ("security", {}, {"max_age": 60, "schemes": ["bearer"], "acr": ["gold"]}),
    ("security", {"public": True}, {}),
    ("cache", {"ttl": 5}, "off"),
]


def config(**fields: object) -> JobConfig:
    """Return a config of these fields."""
    return JobConfig.model_validate({"endpoints": {}, **fields})


def of_one(field: str, old: object, new: object) -> Change:
    """Return the only change between two values of one field of an endpoint."""
    (found,) = changes(config(endpoints={"x": {field: old}}), config(endpoints={"x": {field: new}}))
    assert found.place == f'endpoints."x".{field}'
    return found


@pytest.mark.parametrize(("field", "old", "new", "word"), LOOSER)
def test_what_loosens_is_said_in_a_word(field: str, old: object, new: object, word: str) -> None:
    """A policy removed, a limit raised, a demand dropped: each is named."""
    assert any(word in each for each in of_one(field, old, new).looser)


@pytest.mark.parametrize(("field", "old", "new"), NOT_LOOSER)
def test_what_tightens_is_a_change_and_no_more(field: str, old: object, new: object) -> None:
    """A change that lets nothing more pass has no such word."""
    assert of_one(field, old, new).looser == ()


@pytest.mark.parametrize(("field", "old", "new", "_word"), LOOSER)
def test_nothing_differs_from_itself(field: str, old: object, new: object, _word: str) -> None:
    """Two configs of the same words are the same."""
    for value in (old, new):
        fields = {"endpoints": {"x": {field: value}, "x:*": {field: value}}, "default": {field: value}}
        assert changes(config(**fields), config(**fields)) == []


def test_what_holds_in_the_end_is_compared() -> None:
    """A policy moved from an endpoint to the default changes the default, and that endpoint not at all."""
    old = config(endpoints={"x": {"rate_limit": LIMIT}}, default={})
    new = config(endpoints={}, default={"rate_limit": LIMIT})
    assert [each.place for each in changes(old, new)] == ["default.rate_limit"]
    (back,) = changes(new, old)
    assert back.looser == ("the policy is removed",)


def test_an_endpoint_that_is_no_longer_named_and_one_that_is_new() -> None:
    """Without a default nobody names it any more; with one it has what that says."""
    old, new = (
        config(endpoints={"x": {"rate_limit": LIMIT}, "a:*": {}}),
        config(endpoints={"y": {"timeout": {"seconds": 1}}}),
    )
    assert [(each.place, each.old, each.new) for each in changes(old, new)][:2] == [
        ('endpoints."x"', "named", None),
        ('endpoints."a:*"', "named", None),
    ]
    assert changes(config(default={}), config())[0].looser == ("its policy is removed",)


def test_globs_are_compared_with_what_they_leave_to_the_default() -> None:
    """A glob that no longer says a field has the default's."""
    old = config(endpoints={"a:*": {"rate_limit": LIMIT}}, default={"rate_limit": {**LIMIT, "limit": 9}})
    new = config(endpoints={"a:*": {}}, default={"rate_limit": {**LIMIT, "limit": 9}})
    (found,) = changes(old, new)
    assert (found.place, found.looser) == (
        'endpoints."a:*".rate_limit',
        ("fixed_window: limit raised from 5 to 9",),
    )


def test_fields_of_the_config_itself() -> None:
    """A flood guard removed or raised and proxies believed loosen; another store is a change."""
    guard = {"limit": 5, "window": 1}
    found = {
        each.place: each.looser
        for each in changes(
            config(flood_guard=guard, store="memory://"),
            config(trusted_proxies=["192.0.2.1"], store="redis://localhost", cache_memory=10**9),
        )
    }
    assert found == {
        "flood_guard": ("flood_guard is removed",),
        "trusted_proxies": ("more proxies are believed",),
        "store": (),
        "cache_memory": (),
    }
    (raised,) = changes(config(flood_guard=guard), config(flood_guard={**guard, "limit": 6}))
    assert raised.looser == ("limit raised from 5 to 6",)


def test_the_command_says_it_and_exits_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two files; an app against a file; a password in an address is not shown."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    old, new = tmp_path / "old.toml", tmp_path / "new.toml"
    old.write_text(
        'store = "redis://:hidden@localhost"\n[default]\nmax_headers = 1000\n[queues]\na = "redis://:hidden@b"\n'
    )
    new.write_text("[default]\nmax_headers = 2000\n")
    name = f"compared_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(
        "from forecourt import *\n"
        "async def bare(scope, receive, send): ...\n"
        "app = PolicyMiddleware(bare, JobConfig.from_file('old.toml', routes={'x': '/x'}))\n"
    )
    assert main(["diff", "old.toml", "old.toml"]) == 0
    assert capsys.readouterr().out == "no difference.\n"
    assert main(["diff", "old.toml", "new.toml"]) == 1
    out = capsys.readouterr().out
    assert "default.max_headers: 1000 -> 2000\n  looser: raised from 1000 to 2000\n" in out
    assert "hidden" not in out
    assert main(["diff", f"{name}:app", "new.toml"]) == 1
    assert 'endpoints."x".max_headers: 1000 -> 2000' in capsys.readouterr().out


def test_a_secret_that_changed_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """That it changed is said; what it was and is are not."""
    texts = ["a" * 40, "b" * 40]
    for name, text in zip(("old", "new"), texts, strict=True):
        monkeypatch.setenv(name.upper(), text)
        fields = f'issuer = "https://i.example"\naudience = "a"\nsecret = "env:{name.upper()}"\n'
        (tmp_path / f"{name}.toml").write_text(f'keys = ["env:{name.upper()}"]\n[[issuers]]\n{fields}')
    same = str(tmp_path / "old.toml")
    assert main(["diff", same, same]) == 0
    assert main(["diff", same, str(tmp_path / "new.toml")]) == 1
    out = capsys.readouterr().out
    assert "issuers: Issuer(" in out
    assert out.count("with other values (not shown)") == 2
    assert not any(text in out for text in texts)


def test_an_observer_that_is_off_differs_from_one_that_nobody_mentions() -> None:
    """Which is on by itself, where its package is installed: for each endpoint, glob and default."""
    read = {"read": EndpointPolicy()}
    silent = JobConfig(default=EndpointPolicy(), endpoints=read)
    off = JobConfig(default=EndpointPolicy(logging="off"), endpoints=read)
    places = ["default.logging", 'endpoints."read".logging']
    assert [change.place for change in changes(silent, off)] == places
    assert [change.place for change in changes(off, silent)] == places
