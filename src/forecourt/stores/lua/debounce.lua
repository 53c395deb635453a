-- Twin of core/debounce.py: call. Key: quiet until, last passed. Arguments: interval, max_wait, shadow.
-- compute
local ok$, v1$, v2$, v3$, v4$, passed$, interval$ = 1, 0, 0, 0, 0, now
do
  local interval, max_wait, refused = $N3
  interval$, v3$ = interval, interval
  local state = call('GET', $K1)
  if state then
    local quiet, passed = parse('<dd', state)
    passed = min(passed, now)
    if quiet > now and (max_wait == 0 or passed + max_wait > now) then
      ok$ = refused
      v2$ = v3$
      if max_wait > 0 then v2$ = min(v2$, passed + max_wait - now) end
      v3$ = v2$
      passed$ = passed
    end
  end
end
-- write
call('SET', $K1, pack('<dd', now + interval$, passed$), 'PX', px(interval$))
-- mark
if v2$ > 0 then call('SET', $K1, pack('<dd', now + interval$, passed$), 'PX', px(interval$)) end
