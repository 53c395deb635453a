-- Twin of core/sliding_log.py: take. Key: a sorted set of stamps. Arguments: limit, window, cost, shadow.
-- compute
local ok$, v1$, v2$, v3$, v4$, moved$, edge$, write$, move$ = 1, 0, 0, 0, 0, 0
do
  local limit, window, cost, hits = $A1 + 0, $A2 + 0, $A3 + 0, 0
  local last = call('ZRANGE', $K1, -1, -1)[1]
  if last then
    if last - now > window + limit then moved$ = last - now end
    edge$ = now - window + moved$
    hits = call('ZCOUNT', $K1, string.format('(%d', edge$), '+inf')
  end
  local stamp = function(place)
    return call('ZRANGE', $K1, place - hits, place - hits)[1] - moved$
  end
  local after = hits
  if cost > 0 and hits + cost > limit then
    ok$ = $A4 + 0
    v2$ = cost > limit and -1 or stamp(hits + cost - limit - 1) + window - now
  elseif cost > 0 then
    after = hits + cost
    write$ = cost
    v4$ = max(now, (last or 0) - moved$ + 1)
  end
  v1$ = max(0, limit - after)
  if hits > 0 then
    v3$ = stamp(max(0, after - limit)) + window - now
  elseif after > 0 then
    v3$ = v4$ + window - now
  end
  if moved$ > 0 then
    move$ = function()
      local stamps = call('ZRANGEBYSCORE', $K1, string.format('(%d', edge$), '+inf')
      call('DEL', $K1)
      for _, each in ipairs(stamps) do
        local nearer = string.format('%d', each - moved$)
        call('ZADD', $K1, nearer, nearer)
      end
      call('PEXPIRE', $K1, px($A2 + 0))
    end
  end
end
-- write
if moved$ > 0 then move$() end
if write$ then
  if edge$ then call('ZREMRANGEBYSCORE', $K1, '-inf', edge$ - moved$) end
  for place = 0, write$ - 1 do
    local stamp = string.format('%d', v4$ + place)
    call('ZADD', $K1, stamp, stamp)
  end
  call('PEXPIRE', $K1, px(v4$ + write$ - 1 + $A2 - now))
end
-- mark
if moved$ > 0 then move$() end
