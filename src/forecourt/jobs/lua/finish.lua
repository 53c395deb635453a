-- Arguments: id, token, kind, result, reason.
local id = ARGV[2]
local f = call('HMGET', key(id), 'state', 'token', 'attempts')
if f[1] ~= 'running' or f[2] ~= ARGV[3] then return false end
call('ZREM', LEASES, id)
call('HDEL', key(id), 'token')
if ARGV[4] == 'done' then
  over(id, 'succeeded', '')
  call('HSET', key(id), 'result', ARGV[5])
elseif ARGV[4] == 'given back' then
  call('HINCRBY', key(id), 'attempts', -1)
  wait(id, now)
else
  local pause = min(300000000, 500000 * 2 ^ min(f[3] - 1, 16))
  if again(id, now + pause, ARGV[6]) == 'dead' and ARGV[5] ~= '' then call('HSET', key(id), 'result', ARGV[5]) end
end
return shown(id)
