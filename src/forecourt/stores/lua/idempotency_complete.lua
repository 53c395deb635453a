-- Twin of core/idempotency.py: complete. Key as in idempotency_claim.lua. Arguments: fence, ttl, print, answer.
-- write
do
  local was = call('HMGET', $K1, 'fence', 'ends')
  if was[1] == $A1 and was[2] + 0 > now then
    call('HDEL', $K1, 'fence', 'until')
    call('HSET', $K1, 'print', $A3, 'record', $A4, 'ends', now + $A2)
    call('PEXPIRE', $K1, px($A2))
  end
end
