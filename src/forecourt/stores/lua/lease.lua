-- Twin of core/lease.py: take. Key: a sorted set, id → µs at which it expires. Arguments: limit, ttl, id, shadow, batch.
-- compute
local ok$, v1$, v2$, v3$, v4$, held$, more$ = 1, 0, 0, 0, 0, {}, false
do
  local live, room = call('ZCOUNT', $K1, '(' .. int(now), '+inf'), 0
  more$ = live > 0
  local again = (call('ZSCORE', $K1, $A3) or 0) + 0 > now
  if not again then
    room = $A1 - live
    if room <= 0 then
      local first = call('ZRANGEBYSCORE', $K1, '(' .. int(now), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
      v2$, ok$ = (first[2] or now) - now, $A4 + 0
      room = ok$
    end
  end
  for number = 0, $A5 - 1 do
    local id = number == 0 and $A3 or $A3 .. '.' .. number
    if again then
      if (call('ZSCORE', $K1, id) or 0) + 0 > now then held$[#held$ + 1] = id end
    elseif number < room then
      held$[#held$ + 1] = id
      if number == 0 or (call('ZSCORE', $K1, id) or 0) + 0 <= now then live = live + 1 end
    end
  end
  v1$, v3$, v4$ = max(0, $A1 - live), live, #held$
end
-- write
call('ZREMRANGEBYSCORE', $K1, '-inf', now)
for _, id in ipairs(held$) do call('ZADD', $K1, 'GT', now + $A2, id) end
if more$ then call('PEXPIRE', $K1, px($A2), 'GT') else call('PEXPIRE', $K1, px($A2)) end
