-- Arguments: id.
local id = ARGV[2]
local f = call('HMGET', key(id), 'state', 'owner')
if f[1] == 'queued' or f[1] == 'running' then
  call('ZREM', LEASES, id)
  if call('ZREM', LATER, id) == 0 and f[1] == 'queued' then
    local line = P .. ':line:' .. f[2]
    if call('LREM', line, 1, id) == 1 then call('DECR', WAITING) end
    if call('EXISTS', line) == 0 then call('LREM', RING, 1, f[2]) end
  end
  call('HDEL', key(id), 'token')
  over(id, 'cancelled', '')
end
return shown(id)
