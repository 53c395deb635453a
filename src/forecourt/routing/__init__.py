"""Which endpoint is this? The app's own routing, answered before its router runs.

Starlette routes after all middleware, so whoever stands before the handler must find out first which
one it will be. The answer must be the router's own, whatever the app is built from: a request resolved
to another endpoint would run under another endpoint's policies. And it must not cost what the router's
loop costs, two to four microseconds a route.

    table     RouteTable: compile, resolve, current, ran
    patterns  endpoints given by pattern, for apps that show no routes, and other names for routes
    unfold    reading a router and what is mounted below it
    included  reading what FastAPI keeps out of `routes`
    routers   one compiled router: first full match, else first partial, else what stands behind
    candidates  the compiled routes, each matching as its original does
    index     from a path to the few candidates whose template has its shape

A router is compiled once. Its routes stay in its order; the index picks those that a path can concern,
and each is checked by its own regular expression or, where a class overrides `matches`, by asking it.
A mount is one candidate that leads to the compiled router inside, with the scope a mount would pass on.
"""

from forecourt.routing.endpoints import UNROUTED, Endpoint, Resolution
from forecourt.routing.table import RouteTable

__all__ = ["UNROUTED", "Endpoint", "Resolution", "RouteTable"]
