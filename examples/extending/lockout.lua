-- Twin of lockout.py: take. Key: end, count. Arguments: limit, window, lockout, cost, shadow.
-- compute
local ok$, v1$, v2$, v3$, v4$, end$, count$, mark$ = 1, 0, 0, 0, 0
do
  local limit, cost, lockout = $A1 + 0, $A4 + 0, $A3 + 0
  local state = call('GET', $K1)
  if state then end$, count$ = parse('<dd', state) end
  if not state or end$ <= now then end$, count$ = now + $A2, 0 end
  end$ = min(end$, now + (count$ > limit and lockout or $A2))
  if cost > 0 and count$ + cost > limit then
    if count$ <= limit then
      end$, count$, mark$ = now + lockout, limit + 1, true
    end
    ok$, v2$, v3$ = $A5 + 0, end$ - now, end$ - now
  else
    count$ = count$ + cost
    v1$ = max(0, limit - count$)
    if count$ > 0 then v3$ = end$ - now end
    if cost > 0 then v4$, mark$ = end$, true end
  end
end
-- write
if mark$ then call('SET', $K1, pack('<dd', end$, count$), 'PX', px(end$ - now)) end
-- mark
if mark$ and v2$ > 0 then call('SET', $K1, pack('<dd', end$, count$), 'PX', px(end$ - now)) end
