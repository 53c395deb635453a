-- Arguments: id. A job whose message may not have been sent is none, until it is published again.
local f = call('HMGET', key(ARGV[2]), 'state', 'attempts')
if f[1] == 'queued' and (f[2] or '0') == '0' then
  call('HSET', key(ARGV[2]), 'withdrawn', 1)
  call('HDEL', key(ARGV[2]), 'state')
  call('ZREM', OPEN, ARGV[2])
end
return false
