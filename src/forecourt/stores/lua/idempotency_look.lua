-- Twin of core/idempotency.py: look. Key as in idempotency_claim.lua. Argument: unused.
-- compute
local ok$, v1$, v2$, v3$, v4$ = 1, $A1 + 0, 0, '', ''
do
  local was = call('HMGET', $K1, 'fence', 'until', 'print', 'record', 'ends')
  if was[5] and was[5] + 0 > now then
    v3$ = was[3]
    if was[4] then
      v1$, v4$ = 4, was[4]
    elseif was[1] and was[2] + 0 > now then
      v1$, v2$ = 2, was[2] - now
    else
      v1$ = 3
    end
  end
end
