-- Twin of core/debounce.py: claim. Key: first, due, id. Arguments: interval, max_wait, shadow, id.
-- compute
local ok$, v1$, v2$, v3$, v4$, first$, nearer$ = $A3 + 0, 0, -1, 0, 0
do
  local state = call('GET', $K1)
  if state and string.sub(state, 17) == $A4 then
    local due
    first$, due = parse('<dd', state)
    if due <= now then
      if due + 10000000 > now then ok$, v2$ = 1, 0 end
    else
      v2$ = min(due - now, $A1 + 0)
      v3$ = v2$
      if v2$ < due - now then nearer$ = now + v2$ end
    end
  end
end
-- write
if v2$ == 0 then
  call('DEL', $K1)
elseif nearer$ then
  call('SET', $K1, pack('<dd', first$, nearer$) .. $A4, 'PX', px(nearer$ + 10000000 - now))
end
-- mark
if nearer$ then call('SET', $K1, pack('<dd', first$, nearer$) .. $A4, 'PX', px(nearer$ + 10000000 - now)) end
