-- Twin of core/idempotency.py: keep. Key as in idempotency_room.lua. Arguments: record, ttl.
-- write
call('ZREMRANGEBYSCORE', $K1, '-inf', now)
call('ZADD', $K1, 'GT', now + $A2, $A1)
call('PEXPIRE', $K1, px(call('ZRANGE', $K1, -1, -1, 'WITHSCORES')[2] - now))
