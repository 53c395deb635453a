-- Twin of core/debounce.py: look. Key: quiet until, last passed. Argument: max_wait.
-- compute
local ok$, v1$, v2$ = 1, 1, 0
do
  local state = call('GET', $K1)
  if state then
    local max_wait = $A1 + 0
    local quiet, passed = parse('<dd', state)
    passed = min(passed, now)
    if quiet > now and (max_wait == 0 or passed + max_wait > now) then
      v1$ = 0
      v2$ = quiet - now
      if max_wait > 0 then v2$ = min(v2$, passed + max_wait - now) end
    end
  end
end
