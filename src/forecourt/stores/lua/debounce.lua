-- Twin of core/debounce.py: call. Key: quiet until, last passed. Arguments: interval, max_wait, shadow.
-- compute
local ok$, v1$, v2$, v3$, v4$, passed$ = 1, 0, 0, $A1 + 0, 0, now
do
  local state = call('GET', $K1)
  if state then
    local max_wait = $A2 + 0
    local quiet, passed = parse('<dd', state)
    passed = min(passed, now)
    if quiet > now and (max_wait == 0 or passed + max_wait > now) then
      ok$ = $A3 + 0
      v2$ = v3$
      if max_wait > 0 then v2$ = min(v2$, passed + max_wait - now) end
      v3$ = v2$
      passed$ = passed
    end
  end
end
-- write
call('SET', $K1, pack('<dd', now + $A1, passed$), 'PX', px($A1 + 0))
-- mark
if v2$ > 0 then call('SET', $K1, pack('<dd', now + $A1, passed$), 'PX', px($A1 + 0)) end
