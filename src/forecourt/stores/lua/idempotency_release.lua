-- Twin of core/idempotency.py: release. Key as in idempotency_claim.lua. Argument: fence.
-- write
if call('HGET', $K1, 'fence') == $A1 then call('DEL', $K1) end
