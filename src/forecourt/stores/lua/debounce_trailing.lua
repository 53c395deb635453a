-- Twin of core/debounce.py: arrive. Key: first, due, id. Arguments: interval, max_wait, shadow, id.
-- compute
local ok$, v1$, v2$, v3$, v4$, first$, due$ = 1, 0, 0, 0, 0, now, now + $A1
do
  local state = call('GET', $K1)
  if state then
    local first, due = parse('<dd', state)
    if now < due + 10000000 then first$ = min(first, now) end
  end
  if $A2 + 0 > 0 then due$ = min(due$, max(now, first$ + $A2)) end
  if $A3 + 0 == 0 then v2$ = due$ - now end
  v3$ = v2$
end
-- write
call('SET', $K1, pack('<dd', first$, due$) .. $A4, 'PX', px(due$ + 10000000 - now))
