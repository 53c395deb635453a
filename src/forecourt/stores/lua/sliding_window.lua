-- Twin of core/sliding_window.py: take. Key: start, current, previous, window. Arguments: limit, window, cost, shadow.
-- compute
local ok$, v1$, v2$, v3$, v4$, start$, previous$, window$, write$, mark$ = 1, 0, 0, 0, 0, now, 0
do
  local limit, window, cost, refused = $N4
  local current = 0
  window$ = window
  local state = call('GET', $K1)
  if state then
    local kept
    start$, current, previous$, kept = parse('<dddd', state)
    if now >= start$ + (current > 0 and 2 or 1) * min(window, kept) then
      start$, current, previous$ = now, 0, 0
    else
      if now < start$ then
        start$ = now
        kept = nil
      elseif now >= start$ + window then
        start$, current, previous$ = start$ + window, 0, current
      end
      if kept ~= window then mark$ = current end
    end
  end
  local left = start$ + window - now
  local wait = function(room)
    if room < 0 then return -1 end
    if current > room then return left + window - floor(room * window / current) end
    local free = (room - current) * window
    if previous$ * left <= free then return 0 end
    return left - floor(free / previous$)
  end
  write$ = mark$
  if cost > 0 then v2$ = wait(limit - cost) end
  if v2$ ~= 0 then
    ok$ = refused
  elseif cost > 0 then
    current = current + cost
    write$, v4$ = current, start$
  end
  v1$ = limit
  if current + previous$ > 0 then
    v1$ = max(0, limit - current - ceil(previous$ * left / window))
    v3$ = wait(limit - v1$ - 1)
  end
end
-- write
if write$ then
  local state = pack('<dddd', start$, write$, previous$, window$)
  call('SET', $K1, state, 'PX', px(start$ + (write$ > 0 and 2 or 1) * window$ - now))
end
-- mark
if mark$ then
  local state = pack('<dddd', start$, mark$, previous$, window$)
  call('SET', $K1, state, 'PX', px(start$ + (mark$ > 0 and 2 or 1) * window$ - now))
end
