-- Twin of core/lease.py: renew. Key as in lease.lua. Arguments: ttl, ids between spaces.
-- write
call('ZREMRANGEBYSCORE', $K1, '-inf', now)
for id in string.gmatch($A2, '%S+') do call('ZADD', $K1, 'GT', now + $A1, id) end
call('PEXPIRE', $K1, px(call('ZRANGE', $K1, -1, -1, 'WITHSCORES')[2] - now))
