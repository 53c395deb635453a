-- Twin of core/sliding_log.py: give_back. Arguments: limit, window, cost, ticket.
-- write
if call('ZREMRANGEBYSCORE', $K1, $A4, $A4 + $A3 - 1) > 0 then
  local last = call('ZRANGE', $K1, -1, -1)[1]
  if last then call('PEXPIRE', $K1, px(last + $A2 - now)) end
end
