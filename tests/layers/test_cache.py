"""The cache in the stack: what is served from memory, to whom, and what is not."""

import asyncio
from collections.abc import Callable

import pytest
from starlette.requests import Request
from starlette.responses import Response

from forecourt import Accounts, Cache, Credits, EndpointPolicy, FixedWindow, Ledger, Quota
from forecourt.core.caching.dates import written
from forecourt.types import SECOND
from tests.asgi import call, http
from tests.callers import settle_down
from tests.layers.records import Records

ANN, BOB = (b"x-user", b"ann"), (b"x-user", b"bob")


def caching(ttl: float | None = 60, **policy: object) -> EndpointPolicy:
    """Build an endpoint policy of nothing but this cache."""
    return EndpointPolicy(cache=Cache(ttl=ttl, **policy))  # type: ignore[arg-type]  # its own words


def saying(**headers: str) -> Callable[[Request, int], Response]:
    """Answer the number of the run with these fields."""
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _, run: Response(f"run {run}", headers=fields)


async def bodies(records: Records, *requests: object, times: int = 2) -> list[bytes]:
    """Make the same request several times and return the bodies."""
    return [(await records.get("/records/1", *requests)).body for _ in range(times)]  # type: ignore[arg-type]  # fields


async def test_an_answer_is_given_again() -> None:
    """Same bytes, same fields, its age in seconds (RFC 9111 §5.1); another path is another answer."""
    records = Records(caching())
    first = await records.get()
    records.clock.advance(7.9)
    second = await records.get()
    assert (first.body, second.body, records.runs) == (b"run 1", b"run 1", 1)
    assert first.headers["cache-status"] == "forecourt; fwd=miss; stored"
    assert second.headers["cache-status"] == "forecourt; hit; ttl=52"
    assert second.headers["age"] == "7"
    assert first.headers["etag"] == second.headers["etag"]
    assert (await records.get("/records/2")).body == b"run 2"
    assert (await records.get("/records/1?a=1")).body == b"run 3"


async def test_it_ends_with_its_ttl() -> None:
    """To the microsecond."""
    records = Records(caching())
    await records.get()
    records.clock.advance(59.999999)
    assert (await records.get()).body == b"run 1"
    records.clock.advance(0.000001)
    stale = await records.get()
    assert (stale.body, stale.headers["cache-status"]) == (b"run 2", "forecourt; fwd=stale; stored")


async def test_without_a_ttl_the_response_says_how_long() -> None:
    """`max-age` of the response, and nothing where it says nothing."""
    records = Records(caching(None), answer=saying(cache_control="max-age=5"))
    assert await bodies(records) == [b"run 1"] * 2
    records.clock.advance(5)
    assert (await records.get()).body == b"run 2"
    assert await bodies(Records(caching(None))) == [b"run 1", b"run 2"]


@pytest.mark.parametrize(
    "fields",
    [
        {"cache_control": "no-store"},
        {"cache_control": "private"},
        {"cache_control": "no-cache"},
        {"vary": "*"},
        {"cache_control": "public", "age": "60"},
        {"set_cookie": "session=1"},
        {"cache_control": "public", "set_cookie": "session=1"},
        {"content_encoding": "gzip"},
        {"forecourt_cache_control": "no-store", "cache_control": "max-age=60"},
    ],
)
async def test_what_is_not_kept(fields: dict[str, str]) -> None:
    """Each rule of the safe profile, whatever the ttl says."""
    records = Records(caching(), answer=saying(**fields))
    answers = [await records.get() for _ in range(2)]
    assert [(answer.body, answer.headers["cache-status"]) for answer in answers] == [
        (b"run 1", "forecourt; fwd=miss"),
        (b"run 2", "forecourt; fwd=miss"),
    ]


@pytest.mark.parametrize("status", [201, 302, 404, 410, 500, 503])
async def test_errors_are_not_kept_by_ttl(status: int) -> None:
    """Only successes and lasting redirects are."""
    records = Records(caching(), answer=lambda _, run: Response(f"run {run}", status))
    assert await bodies(records) == [b"run 1", b"run 2"]


@pytest.mark.parametrize("own", [(b"cookie", b"a=b"), (b"authorization", b"Bearer x")])
async def test_requests_of_somebody_pass_by(own: tuple[bytes, bytes]) -> None:
    """Anonymous callers with Cookie or Authorization neither get nor leave an answer."""
    records = Records(caching())
    assert (await records.get()).body == b"run 1"
    passed = await records.get("/records/1", own)
    assert (passed.body, passed.headers["cache-status"]) == (b"run 2", "forecourt; fwd=bypass")
    assert (await records.get()).body == b"run 1"


async def test_principals_are_apart() -> None:
    """Each has an answer of their own, sent as private; nobody else's is theirs, nor the anonymous one."""
    records = Records(caching())
    assert await bodies(records, ANN) == [b"run 1"] * 2
    assert await bodies(records, BOB) == [b"run 2"] * 2
    assert await bodies(records) == [b"run 3"] * 2
    assert (await records.get("/records/1", ANN)).headers["cache-control"] == "private"
    assert "cache-control" not in (await records.get()).headers


@pytest.mark.parametrize(
    ("partition", "other", "shared"),
    [("everyone", BOB, True), ("tenant", (b"x-user", b"amy"), True), ("tenant", BOB, False), ("scopes", BOB, True)],
)
async def test_partitions(partition: str, other: tuple[bytes, bytes], shared: bool) -> None:
    """Who shares is the operator's word: all, a tenant (here the first letter), those of equal scopes."""
    records = Records(caching(partition=partition))
    assert await bodies(records, ANN, times=1) == [b"run 1"]
    assert await bodies(records, other, times=1) == [b"run 1" if shared else b"run 2"]


async def test_the_anonymous_partition_is_for_nobody_else() -> None:
    """Who is known passes by."""
    records = Records(caching(partition="anonymous"))
    assert await bodies(records, ANN) == [b"run 1", b"run 2"]
    assert await bodies(records) == [b"run 3"] * 2


async def test_everyone_includes_cookies() -> None:
    """What the operator shares with all is shared whatever they carry; Set-Cookie still is not."""
    records = Records(caching(partition="everyone"))
    assert await bodies(records, (b"cookie", b"a=b")) == [b"run 1"] * 2


async def test_answers_vary() -> None:
    """RFC 9111 §4.1: a kept response is selected by the fields that it varies on, missing ones included."""
    records = Records(caching(), answer=saying(vary="Accept-Language"))
    german, french = (b"accept-language", b"de"), (b"accept-language", b"fr")
    assert await bodies(records, german) == [b"run 1"] * 2
    assert await bodies(records, french) == [b"run 2"] * 2
    assert await bodies(records) == [b"run 3"] * 2
    assert await bodies(records, german) == [b"run 1"] * 2


async def test_a_policy_may_vary() -> None:
    """`vary` selects also where the response does not say so."""
    records = Records(caching(vary=("X-Beta",)))
    assert await bodies(records, (b"x-beta", b"1")) == [b"run 1"] * 2
    assert await bodies(records) == [b"run 2"] * 2


async def test_conditions_are_answered_from_what_is_kept() -> None:
    """RFC 9111 §4.3.2: 304 with the fields of RFC 9110 §15.4.5, no body; the handler never sees the condition."""
    records = Records(caching(), answer=saying(x_other="1", cache_control="max-age=9"))
    etag = (await records.get()).headers["etag"].encode()
    same = await records.get("/records/1", (b"if-none-match", etag))
    assert (same.status, same.body) == (304, b"")
    assert {"etag", "cache-control", "age", "cache-status", "x-request-id"} == set(same.headers)
    other = await records.get("/records/1", (b"if-none-match", b'"x"'))
    assert (other.status, other.body) == (200, b"run 1")
    assert (await records.get("/records/2", (b"if-none-match", etag))).body == b"run 2"
    assert "if-none-match" not in records.requests[-1].headers


async def test_parts_and_heads_come_from_a_whole_answer() -> None:
    """RFC 9110 §14, §9.3.2; without a whole answer they are the handler's business, and not kept."""
    records = Records(caching())
    assert (await records.get("/records/1", (b"range", b"bytes=0-1"))).status == 200
    assert (await records.get(method="HEAD")).headers["cache-status"] == "forecourt; fwd=miss"
    await records.get()
    runs = records.runs
    part = await records.get("/records/1", (b"range", b"bytes=4-"))
    assert (part.status, part.body) == (206, b"%d" % runs)
    assert (part.headers["content-range"], part.headers["content-length"]) == ("bytes 4-4/5", "1")
    beyond = await records.get("/records/1", (b"range", b"bytes=9-"))
    assert (beyond.status, beyond.headers["content-range"]) == (416, "bytes */5")
    head = await records.get(method="HEAD")
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", "5")
    assert records.runs == runs


@pytest.mark.parametrize(
    ("asked", "status", "body"),
    [
        (b"no-cache", 200, b"run 2"),
        (b"max-age=5", 200, b"run 2"),
        (b"max-age=30", 200, b"run 1"),
        (b"min-fresh=55", 200, b"run 2"),
        (b"no-store", 200, b"run 1"),
        (b"only-if-cached", 200, b"run 1"),
        (b"only-if-cached, no-cache", 504, None),
    ],
)
async def test_requests_say_what_they_accept(asked: bytes, status: int, body: bytes | None) -> None:
    """RFC 9111 §5.2.1, of an answer that is ten seconds old."""
    records = Records(caching())
    await records.get()
    records.clock.advance(10)
    answer = await records.get("/records/1", (b"cache-control", asked))
    assert answer.status == status
    assert body is None or answer.body == body


async def test_a_request_may_take_what_is_stale() -> None:
    """RFC 9111 §5.2.1.2, unless the response forbids it (§4.2.4)."""
    records = Records(caching())
    await records.get()
    records.clock.advance(70)
    assert (await records.get("/records/1", (b"cache-control", b"max-stale=20"))).body == b"run 1"
    assert (await records.get("/records/1", (b"cache-control", b"max-stale=5"))).body == b"run 2"
    firm = Records(caching(), answer=saying(cache_control="must-revalidate"))
    await firm.get()
    firm.clock.advance(70)
    assert (await firm.get("/records/1", (b"cache-control", b"max-stale"))).body == b"run 2"


async def test_what_a_request_will_not_have_stored_is_not() -> None:
    """RFC 9111 §5.2.1.5; `only-if-cached` never runs the handler (§5.2.1.7)."""
    records = Records(caching())
    assert (await records.get("/records/1", (b"cache-control", b"only-if-cached"))).status == 504
    await records.get("/records/1", (b"cache-control", b"no-store"))
    assert (await records.get()).body == b"run 2"


async def test_stale_while_it_is_refreshed() -> None:
    """RFC 5861 §3: given at once, refreshed once in the background for however many, and then fresh."""
    records = Records(caching(stale_while_revalidate=30))
    await records.get()
    records.clock.advance(61)
    records.go_on.clear()
    stale = [await records.get() for _ in range(5)]
    assert {answer.body for answer in stale} == {b"run 1"}
    assert stale[0].headers["cache-status"] == "forecourt; hit; ttl=-1"
    await settle_down()
    records.go_on.set()
    await settle_down()
    assert (await records.get()).body == b"run 2"
    assert records.runs == 2
    records.clock.advance(90)
    assert (await records.get()).body == b"run 3"


async def test_a_refresh_that_fails_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """The stale answer stays for its window; it is said in the log."""
    records = Records(caching(stale_while_revalidate=30))
    await records.get()
    records.clock.advance(61)
    records.fails = True
    assert (await records.get()).body == b"run 1"
    await settle_down()
    assert "a refresh in the background failed: RuntimeError" in caplog.text
    assert (await records.get()).body == b"run 1"


async def test_stale_if_the_handler_fails(caplog: pytest.LogCaptureFixture) -> None:
    """RFC 5861 §4: in place of 500, 502, 503, 504 and of an exception; after its window the failure is told."""
    failing: list[int] = []
    records = Records(
        caching(stale_if_error=30),
        answer=lambda _, run: Response(f"run {run}", failing[0] if failing else 200),
    )
    await records.get()
    records.clock.advance(61)
    failing.append(503)
    instead = await records.get()
    assert (instead.status, instead.body) == (200, b"run 1")
    assert instead.headers["cache-status"] == "forecourt; hit; ttl=-1; detail=status-503"
    records.fails = True
    assert (await records.get()).body == b"run 1"
    assert "a stale answer was given" in caplog.text
    records.fails = False
    records.clock.advance(30)
    assert (await records.get()).status == 503


async def test_one_runs_for_all_who_come_meanwhile() -> None:
    """A thousand misses at once run the handler once, and all get that answer."""
    records = Records(caching())
    records.go_on.clear()
    calls = [asyncio.create_task(records.get()) for _ in range(1000)]
    await settle_down()
    assert records.runs == 1
    records.go_on.set()
    answers = await asyncio.gather(*calls)
    assert {answer.body for answer in answers} == {b"run 1"}
    assert {answer.headers["cache-status"] for answer in answers[1:]} == {"forecourt; fwd=miss; collapsed"}


async def test_nobody_waits_for_what_is_not_kept() -> None:
    """Those who waited are let go when the fields say so, not when the body ends; later ones do not wait at all."""
    records = Records(caching(), answer=saying(cache_control="no-store"))
    records.go_on.clear()
    calls = [asyncio.create_task(records.get()) for _ in range(10)]
    await settle_down()
    assert records.runs == 1
    records.go_on.set()
    assert len({answer.body for answer in await asyncio.gather(*calls)}) == 10
    records.go_on.clear()
    calls = [asyncio.create_task(records.get()) for _ in range(10)]
    await settle_down()
    assert records.runs == 20
    records.go_on.set()
    await asyncio.gather(*calls)
    records.clock.advance(121)
    records.go_on.clear()
    calls = [asyncio.create_task(records.get()) for _ in range(10)]
    await settle_down()
    assert records.runs == 21
    records.go_on.set()
    await asyncio.gather(*calls)


async def test_followers_see_for_themselves_whether_the_answer_is_theirs() -> None:
    """One that varies is given to those who select the same; others run, once for each selection."""
    records = Records(caching(), answer=saying(vary="accept-language"))
    records.go_on.clear()
    languages = [b"de", b"fr", b"de", b"fr", b"it"]
    calls = [asyncio.create_task(records.get("/records/1", (b"accept-language", each))) for each in languages]
    await settle_down()
    assert records.runs == 1
    records.go_on.set()
    found = [answer.body for answer in await asyncio.gather(*calls)]
    assert (found[0] == found[2], found[1] == found[3]) == (True, True)
    assert (len(set(found)), records.runs) == (3, 3)


async def test_a_leader_that_is_cancelled_is_followed_by_another() -> None:
    """The client of the first left: the next one runs, the others wait for that."""
    records = Records(caching())
    records.go_on.clear()
    calls = [asyncio.create_task(records.get()) for _ in range(5)]
    await settle_down()
    calls[0].cancel()
    await settle_down()
    assert records.runs == 2
    records.go_on.set()
    answers = await asyncio.gather(*calls[1:])
    assert {answer.body for answer in answers} == {b"run 2"}


async def test_patience_ends() -> None:
    """After five seconds those who wait run by themselves."""
    records = Records(caching())
    records.go_on.clear()
    calls = [asyncio.create_task(records.get()) for _ in range(3)]
    await settle_down()
    records.clock.advance(5)
    await settle_down()
    assert records.runs == 3
    records.go_on.set()
    await asyncio.gather(*calls)


async def test_a_hit_is_not_copied() -> None:
    """The body that is sent is the object that is kept."""
    records = Records(caching())
    await records.get()
    one, two = await records.get(), await records.get()
    assert one.messages[1]["body"] is two.messages[1]["body"]


@pytest.mark.parametrize(("refund_on", "left"), [(frozenset[str](), 7), (frozenset({"hit"}), 9)])
async def test_a_hit_is_charged_as_any_call_unless_refunded(refund_on: frozenset[str], left: int) -> None:
    """The cache stands below credits; `refund_on` may say "hit". Limits count every call, and say so on a hit too."""
    policy = EndpointPolicy(
        cache=Cache(ttl=9),
        credits=Credits(amount=1, refund_on=refund_on),  # type: ignore[arg-type]  # words of it
        rate_limit=FixedWindow(limit=9, window=9),
    )
    records = Records(policy, accounts={"quota": {"amount": 10, "every": "day"}})
    for _ in range(2):
        await records.get()
        await settle_down()
    answer = await records.get()
    await settle_down()
    assert answer.headers["cache-status"].startswith("forecourt; hit")
    assert answer.headers["ratelimit"].startswith('"fixed_window";r=6')
    ledger = Ledger(records.store, accounts=Accounts(quota=Quota(amount=10, every="day")))
    assert (await ledger.balance(("client", "192.0.2.1"))).available == left


async def test_revalidation_with_the_handler() -> None:
    """RFC 9111 §4.3: what is stale and has a validator is validated; §4.3.4: a 304 freshens it."""
    seen: list[str | None] = []

    def answer(request: Request, run: int) -> Response:
        seen.append(request.headers.get("if-none-match"))
        if seen[-1] == '"one"':
            return Response(status_code=304, headers={"etag": '"one"', "x-run": str(run)})
        return Response("one", headers={"etag": '"one"', "x-run": str(run)})

    records = Records(caching(), answer=answer)
    await records.get()
    records.clock.advance(61)
    again = await records.get()
    assert (again.status, again.body, again.headers["x-run"], again.headers["age"]) == (200, b"one", "2", "0")
    assert seen == [None, '"one"']
    assert (await records.get()).headers["x-run"] == "2"


async def test_a_304_may_say_that_nothing_is_kept_any_more() -> None:
    """Its caller is given what it confirms, and nobody waits for the next answer."""

    def answer(request: Request, run: int) -> Response:
        if "if-none-match" in request.headers:
            return Response(status_code=304, headers={"etag": '"one"', "cache-control": "no-store"})
        return Response(f"run {run}", headers={"etag": '"one"'})

    records = Records(caching(), answer=answer)
    await records.get()
    records.clock.advance(61)
    confirmed = await records.get()
    assert (confirmed.status, confirmed.body, records.runs) == (200, b"run 1", 2)
    records.go_on.clear()
    both = [asyncio.create_task(records.get()) for _ in range(2)]
    await settle_down()
    assert records.runs == 4
    records.go_on.set()
    await asyncio.gather(*both)


async def test_the_rfc_profile_guesses_and_revalidates() -> None:
    """Heuristic freshness (RFC 9111 §4.2.2), `no-cache` kept for validation, cookies no matter of the cache's."""
    records = Records(caching(None, profile="rfc9111"))
    changed = written(records.clock.now() // SECOND - 1000)
    records._answer = saying(last_modified=changed)
    assert await bodies(records, (b"cookie", b"a=b")) == [b"run 1"] * 2
    records.clock.advance(101)
    assert (await records.get()).body == b"run 2"


async def test_early_refresh() -> None:
    """The nearer the end and the slower the handler, the likelier; never without a time it took."""
    records = Records(caching(early_refresh=10), answer=lambda _, run: Response(f"run {run}"))
    records.go_on.clear()
    first = asyncio.create_task(records.get())
    await settle_down()
    records.clock.advance(4)
    records.go_on.set()
    await first
    records.clock.advance(59.9)
    for _ in range(30):
        await records.get()
        await settle_down()
    assert records.runs == 2


async def test_other_methods_pass() -> None:
    """What is no GET is not looked at (RFC 9110 §9.2.3)."""
    records = Records(caching())
    answer = await records.get(method="PUT")
    assert "cache-status" not in answer.headers


async def test_raw_paths_are_apart() -> None:
    """`/a%2Fb` is not `/a/b`; hosts and schemes are apart, the case of a host is not."""
    records = Records(caching())

    async def at(raw: bytes | None, **other: object) -> bytes:
        scope = {**http("/records/1"), "raw_path": raw, **other}
        return (await call(records.app, scope)).body

    assert await at(b"/records/1") == b"run 1"
    assert await at(None) == b"run 1"
    assert await at(b"/records/%31") == b"run 2"
    assert await at(b"/records/1", scheme="https") == b"run 3"
    assert await at(b"/records/1", headers=[(b"host", b"TEST")]) == b"run 1"
    assert await at(b"/records/1", headers=[(b"host", b"other")]) == b"run 4"


async def test_whoever_has_followed_three_in_vain_runs_by_itself() -> None:
    """One leader after the other leaves: nobody waits for a fourth, and who came at the same time needs no turn."""
    records = Records(caching())
    records.go_on.clear()
    calls = [asyncio.create_task(records.get()) for _ in range(5)]
    await settle_down()
    for leader in calls[:3]:
        assert records.runs == calls.index(leader) + 1
        leader.cancel()
        await settle_down()
    assert records.runs == 5
    calls.append(asyncio.create_task(records.get()))
    await settle_down()
    assert records.runs == 6, "who comes now follows neither of them"
    records.go_on.set()
    assert [answer.body for answer in await asyncio.gather(*calls[3:])] == [b"run 4", b"run 5", b"run 6"]
