-- Twin of core/throttle.py: take. Key: TAT, rest, written, span. Arguments: N, D, max_delay, cost, shadow.
-- compute
local ok$, v1$, v2$, v3$, v4$, v5$, v6$, span$, write$, rest$, mark$, mark_rest$ = 1, 0, 0, 0, 0, 0, 0
do
  local period, parts, max_delay, cost, refused = $N5
  local tat, rest, ahead = now, 0, 0
  span$ = max_delay + ceil(period / parts)
  local state = call('GET', $K1)
  if state then
    local written, span
    tat, rest, written, span = parse('<dddd', state)
    if rest >= parts then tat, rest = tat + 1, 0 end
    if now < written then tat = tat - (written - now) end
    ahead = tat - now
    if rest > 0 then ahead = ahead + 1 end
    if ahead <= 0 then
      tat, rest, ahead = now, 0, 0
    elseif span ~= span$ then
      ahead = ceil(ahead / span * span$)
      tat, rest = now + ahead, 0
      mark$, mark_rest$ = tat, rest
    elseif now < written then
      mark$, mark_rest$ = tat, rest
    end
  end
  write$, rest$, v3$ = mark$, mark_rest$, ahead
  if cost == 0 then
    if ahead == 0 then v1$ = 1 end
  elseif ahead > max_delay then
    ok$ = refused
    v2$ = ahead - max_delay
  else
    local units = rest + cost * period
    write$, rest$ = tat + floor(units / parts), units % parts
    v3$ = write$ - now
    if rest$ > 0 then v3$ = v3$ + 1 end
    v4$, v5$, v6$ = write$, rest$, ahead
  end
end
-- write
if write$ then
  call('SET', $K1, pack('<dddd', write$, rest$, now, span$), 'PX', px(write$ - now + (rest$ > 0 and 1 or 0)))
end
-- mark
if mark$ then
  local ttl = px(mark$ - now + (mark_rest$ > 0 and 1 or 0))
  call('SET', $K1, pack('<dddd', mark$, mark_rest$, now, span$), 'PX', ttl)
end
