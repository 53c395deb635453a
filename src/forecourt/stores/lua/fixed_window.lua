-- Twin of core/fixed_window.py: take. Key: end, count. Arguments: limit, window, cost, shadow.
-- compute
local ok$, v1$, v2$, v3$, v4$, end$, write$, mark$ = 1, 0, 0, 0, 0
do
  local limit, window, cost, refused = $N4
  local latest, count = now + window, 0
  local state = call('GET', $K1)
  if state then end$, count = parse('<dd', state) end
  if not state or end$ <= now then
    end$, count = latest, 0
  elseif end$ > latest then
    end$, mark$ = latest, count
  end
  write$ = mark$
  if cost > 0 and count + cost > limit then
    ok$ = refused
    v2$ = cost > limit and -1 or end$ - now
  elseif cost > 0 then
    count = count + cost
    write$, v4$ = count, end$
  end
  v1$ = max(0, limit - count)
  if count > 0 then v3$ = end$ - now end
end
-- write
if write$ then call('SET', $K1, pack('<dd', end$, write$), 'PX', px(end$ - now)) end
-- mark
if mark$ then call('SET', $K1, pack('<dd', end$, mark$), 'PX', px(end$ - now)) end
