"""What became of a call, in the few words that labels and logs use."""

from typing import Literal

from forecourt.decisions import Outcome
from forecourt.exchange import Exchange
from forecourt.responses import INTERNAL_ERROR
from forecourt.stores.contract import Answer

Became = Literal["ok", "client_error", "server_error", "refused", "failed", "cancelled"]
"""Answered below 400, with 4xx or 5xx by the handler; refused by a layer; broke; or given up before an answer."""


def became(exchange: Exchange) -> Became:
    """Return what became of a call that ended without an exception."""
    if exchange.refused is not None:
        return "failed" if exchange.refused is INTERNAL_ERROR else "refused"
    status = exchange.status
    if status is None:
        return "cancelled"
    if status < 400:
        return "ok"
    return "client_error" if status < 500 else "server_error"


def tell_answer(exchange: Exchange, layer: str, answer: Answer) -> None:
    """Tell observers what the answer to a layer's one question says: the store's word, or that of a failure policy.

    Nothing where another layer's refusal left it ungranted: then nothing was decided of it.
    """
    if outcome := _said(answer):
        exchange.decided(layer, outcome)


def _said(answer: Answer) -> Outcome | None:
    if answer.verdict == "refuse":
        return "refused" if answer.values else "unavailable"
    if answer.degraded:
        return "degraded"
    return "allowed" if answer.granted else None
