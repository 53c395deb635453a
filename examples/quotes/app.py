"""The quotes service: its handlers, the other server's clients, and the policies that stand around all of them."""

from pathlib import Path

from fastapi import FastAPI

from examples.quotes.handlers import charts, others, quotes, stubborn
from forecourt import JobConfig, PolicyMiddleware

app = FastAPI(title="Quotes")
config = JobConfig.from_file(Path(__file__).with_name("policies.toml"))
app.add_middleware(PolicyMiddleware, config=config)
app.include_router(quotes(lambda: config.upstream("exchange")))
app.include_router(quotes(lambda: config.upstream("bare"), "/bare", "get_bare_quote"))
app.include_router(stubborn(lambda: config.upstream("bare")))
app.include_router(charts(lambda: config.upstream("files")))
app.include_router(others)
