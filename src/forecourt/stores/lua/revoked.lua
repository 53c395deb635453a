-- Twin of core/revocation.py: revoked. Key: the instant and until when it is kept. Argument: µs at which it was issued.
-- compute
local ok$, v1$ = 1, 0
do
  local state = call('GET', $K1)
  if state then
    local instant, until_ = parse('<dd', state)
    if until_ > now then
      v1$ = instant
      if v1$ > 0 and $A1 + 0 <= v1$ then ok$ = 0 end
    end
  end
end
