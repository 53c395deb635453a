"""Circuit breakers of peers around a call that does nothing, closed."""

from collections.abc import Awaitable, Callable

import aiobreaker
import interlock
import pybreaker
from fastapi_alcazaba import FastAPIBreaker
from hyx.circuitbreaker import consecutive_breaker
from purgatory import AsyncCircuitBreakerFactory

from benchmarks.harness import Work
from benchmarks.peers.parts import Part
from forecourt import CircuitBreaker, EndpointPolicy, JobConfig


async def call() -> None:
    """Stand for what is protected."""


def _pybreaker() -> Callable[[], Awaitable[None]]:
    breaker = pybreaker.CircuitBreaker(fail_max=5, reset_timeout=30)

    async def run() -> None:
        with breaker.calling():
            await call()

    return run


def _interlock() -> Callable[[], Awaitable[None]]:
    breaker = interlock.CircuitBreaker(name="bench")

    async def run() -> None:
        async with breaker:
            await call()

    return run


def _alcazaba() -> Callable[[], Awaitable[None]]:
    breaker = FastAPIBreaker("bench", failure_threshold=5, reset_timeout=30)

    async def run() -> None:
        async with breaker.attempt():
            await call()

    return run


def _aiobreaker() -> Callable[[], Awaitable[None]]:
    breaker = aiobreaker.CircuitBreaker(fail_max=5)

    async def run() -> None:
        await breaker.call_async(call)

    return run


def _purgatory() -> Callable[[], Awaitable[None]]:
    breakers = AsyncCircuitBreakerFactory(default_threshold=5)

    async def run() -> None:
        async with await breakers.get_breaker("bench"):
            await call()

    return run


def _hyx() -> Callable[[], Awaitable[None]]:
    breaker = consecutive_breaker(failure_threshold=5)

    async def run() -> None:
        async with breaker:
            await call()

    return run


def _ours() -> Callable[[], Awaitable[None]]:
    policy = CircuitBreaker(name="bench")
    breaker = JobConfig(endpoints={"bench": EndpointPolicy(circuit_breaker=policy)}).breaker("bench")

    async def run() -> None:
        async with breaker:
            await call()

    return run


def works() -> list[Work]:
    """Return the call alone, and each breaker around it."""
    return [
        Work("the call alone", call, side="base"),
        Work("pybreaker", _pybreaker(), "with breaker.calling(), in this process"),
        Work("aiobreaker", _aiobreaker(), "await breaker.call_async(call), in this process"),
        Work("purgatory", _purgatory(), "async with await factory.get_breaker(name), in this process"),
        Work("hyx", _hyx(), "async with consecutive_breaker, in this process"),
        Work("interlock-cb", _interlock(), "async with breaker, default window, in this process"),
        Work("fastapi-alcazaba", _alcazaba(), "async with breaker.attempt(), in this process"),
        Work("forecourt", _ours(), 'async with config.breaker("bench"), in this process', side="ours"),
    ]


def pybreaker_part() -> Part:
    """Return pybreaker around a handler, for the assembly."""
    breaker = pybreaker.CircuitBreaker(fail_max=5, reset_timeout=30)

    async def guarded() -> object:
        with breaker.calling():
            yield

    from fastapi import Depends

    return Part("pybreaker", "breaker.calling() in a dependency with yield", dependencies=(Depends(guarded),))
