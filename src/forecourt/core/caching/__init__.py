"""What a cache in front of a handler decides: pure functions on fields, times and policies, each with its RFC section.

It is a shared cache in the words of RFC 9111, at the handler's own door. `directives` reads what messages say,
`storable` decides what may be kept, `freshness` how long, `keys` for whom, `validators` what a client is told that
has a part of it already, `status` what it is told about the cache. `entries` is a kept response.
"""
