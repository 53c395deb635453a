-- Twin of core/idempotency.py: release. Key as in idempotency_claim.lua. Argument: fence.
-- write
do
  local was = call('HMGET', $K1, 'fence', 'ends')
  if was[1] == $A1 and was[2] + 0 > now then call('DEL', $K1) end
end
