-- Arguments: how many at most, what tokens begin with. Returns {id, token, attempts, lease, envelope} of each; without
-- a token it has ended while nobody had it.
local claims = {}
local start = function(id, token)
  local f = call('HMGET', key(id), 'attempts', 'lease', 'envelope')
  claims[#claims + 1] = {id, token, f[1] or '0', f[2], f[3]}
end

for _, id in ipairs(call('ZRANGEBYSCORE', LEASES, '-inf', now, 'LIMIT', 0, 64)) do
  if not forget(LEASES, id) then
    call('ZREM', LEASES, id)
    if again(id, now, 'no worker held on to it') == 'dead' then start(id, '') end
  end
end
for _, id in ipairs(call('ZRANGEBYSCORE', LATER, '-inf', now, 'LIMIT', 0, 256)) do
  if not forget(LATER, id) then
    call('ZREM', LATER, id)
    enqueue(id)
  end
end

while #claims < ARGV[2] + 0 do
  local owner = call('LPOP', RING)
  if not owner then break end
  local line = P .. ':line:' .. owner
  local id = call('LPOP', line)
  if call('LLEN', line) > 0 then call('RPUSH', RING, owner) end
  if id then
    call('DECR', WAITING)
    local f = call('HMGET', key(id), 'state', 'deadline', 'lease')
    if f[1] == 'queued' then
      if f[2] + 0 <= now then
        over(id, 'failed', 'its time was over')
        start(id, '')
      else
        local attempts = call('HINCRBY', key(id), 'attempts', 1)
        local token = ARGV[3] .. '.' .. attempts
        call('HSET', key(id), 'state', 'running', 'token', token, 'changed', now)
        call('HDEL', key(id), 'progress', 'note')
        call('ZADD', LEASES, now + f[3], id)
        keep(id, max(0, f[2] - now) + call('HGET', key(id), 'ttl') + 2 * f[3])
        start(id, token)
      end
    end
  end
end
return claims
