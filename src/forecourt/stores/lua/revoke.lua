-- Twin of core/revocation.py: revoke. Key: the instant and until when it is kept. Arguments: instant, µs to keep it.
-- compute
local instant$, until$ = $A1 + 0, now + $A2
do
  local state = call('GET', $K1)
  if state then
    local earlier, kept = parse('<dd', state)
    if kept > now then instant$, until$ = max(instant$, earlier), max(until$, kept) end
  end
end
-- write
call('SET', $K1, pack('<dd', instant$, until$), 'PX', px(until$ - now))
