-- Twin of core/idempotency.py: room. Key: a sorted set, record → µs at which it ends. Arguments: most, record.
-- compute
local ok$, v1$, v2$ = 1, call('ZCOUNT', $K1, '(' .. int(now), '+inf'), 0
if v1$ >= $A1 + 0 and (call('ZSCORE', $K1, $A2) or 0) + 0 <= now then
  ok$, v2$ = 0, call('ZRANGEBYSCORE', $K1, '(' .. int(now), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2] - now
end
