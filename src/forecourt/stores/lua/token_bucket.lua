-- Twin of core/token_bucket.py: take. Key: TAT, rest, span. Arguments: capacity, N, D, cost, shadow.
-- compute
local ok$, v1$, v2$, v3$, v4$, parts$, span$, write$, mark$ = 1, 0, 0, 0, 0
do
  local capacity, period, parts, cost, refused = $N5
  local debt, full = 0, capacity * period
  parts$ = parts
  span$ = ceil(full / parts$)
  local state = call('GET', $K1)
  if state then
    local tat, rest, span = parse('<ddd', state)
    local ahead = tat - now
    if rest > 0 then ahead = ahead + 1 end
    if ahead > 0 and span ~= span$ then
      debt = min(full, ceil(min(ahead, span) / span * span$) * parts$)
      mark$ = debt
    elseif ahead > 0 then
      debt = min(span$, tat - now) * parts$ + min(rest, parts$ - 1)
      if ahead > span$ or debt > full then
        debt = full
        mark$ = debt
      end
    end
  end
  local after = debt + cost * period
  write$ = mark$
  if after > full then
    ok$ = refused
    v2$ = cost > capacity and -1 or ceil((after - full) / parts$)
    after = debt
  elseif cost > 0 then
    write$ = after
    v4$ = now + floor(after / parts$)
  end
  v1$ = floor((full - after) / period)
  if after > 0 then v3$ = ceil(((after - 1) % period + 1) / parts$) end
end
-- write
if write$ then
  local state = pack('<ddd', now + floor(write$ / parts$), write$ % parts$, span$)
  call('SET', $K1, state, 'PX', px(ceil(write$ / parts$)))
end
-- mark
if mark$ then
  local state = pack('<ddd', now + floor(mark$ / parts$), mark$ % parts$, span$)
  call('SET', $K1, state, 'PX', px(ceil(mark$ / parts$)))
end
