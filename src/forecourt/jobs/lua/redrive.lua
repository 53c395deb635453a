-- Arguments: id.
local id = ARGV[2]
local f = call('HMGET', key(id), 'state', 'expires', 'ttl', 'lease')
if f[1] ~= 'dead' then return false end
call('ZREM', DEAD, id)
call('HSET', key(id), 'attempts', 0, 'reason', '', 'deadline', now + f[2])
call('HDEL', key(id), 'result')
keep(id, f[2] + f[3] + 2 * f[4])
wait(id, now)
return shown(id)
