-- Twin of core/cache.py: note. Key: the log, see cache_log.lua. Arguments: text, records kept, ttl.
-- write
do
  local last = call('ZRANGE', $K1, -1, -1, 'WITHSCORES')
  local number = int(last[1] and max(last[2] + 1, now) or now)
  call('ZADD', $K1, number, number .. ' ' .. $A1)
  call('ZREMRANGEBYRANK', $K1, 0, -$A2 - 1)
  call('PEXPIRE', $K1, px($A3 + 0))
end
