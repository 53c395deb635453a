-- Twin of core/idempotency.py: claim. Key: a hash with fence and until (of a claim), print, record (of an answer), ends.
-- Arguments: ttl, lease, fence, retry.
-- compute
local ok$, v1$, v2$, v3$, v4$ = 1, 0, 0, '', ''
do
  local was = call('HMGET', $K1, 'fence', 'until', 'print', 'record', 'ends')
  if was[5] and was[5] + 0 > now then
    v3$ = was[3]
    if was[4] then
      ok$, v1$, v4$ = 2, 4, was[4]
    elseif was[1] ~= $A3 then
      if was[1] and was[2] + 0 > now then
        ok$, v1$, v2$ = 0, 2, was[2] - now
      elseif $A4 == '1' then
        v1$ = 1
      else
        ok$, v1$ = 0, 3
      end
    end
  end
end
-- write
call('DEL', $K1)
call('HSET', $K1, 'fence', $A3, 'until', now + $A2, 'print', v3$, 'ends', now + max($A1, $A2))
call('PEXPIRE', $K1, px(max($A1, $A2)))
