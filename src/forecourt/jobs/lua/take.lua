-- Arguments, for each message: id, token, owner, endpoint, fingerprint, max_attempts, lease, expires, ttl, deadline.
-- Returns for each {what, attempts, µs}: 'run'; 'told': it has ended while nobody had it; 'over': nothing is to be done;
-- 'wait': it may be asked for again in so many µs. A record that was lost is made again from the message.
local take = function(at)
  local id = ARGV[at]
  local f = call('HMGET', key(id), 'state', 'withdrawn', 'attempts')
  if not f[1] then
    if f[2] or ARGV[at + 9] + 0 <= now then return {'over', 0, 0} end
    call('HSET', key(id), 'owner', ARGV[at + 2], 'endpoint', ARGV[at + 3], 'fingerprint', ARGV[at + 4],
      'max_attempts', ARGV[at + 5], 'lease', ARGV[at + 6], 'expires', ARGV[at + 7], 'ttl', ARGV[at + 8],
      'attempts', 0, 'created', now, 'deadline', ARGV[at + 9])
    own(id, ARGV[at + 2], ARGV[at + 9] - now + ARGV[at + 8] + 2 * ARGV[at + 6])
    wait(id, now)
  elseif f[1] == 'running' then
    local left = call('ZSCORE', LEASES, id) - now
    if left > 0 then return {'wait', 0, left} end
    call('ZREM', LEASES, id)
    if again(id, now, 'no worker held on to it') == 'dead' then return {'told', f[3] + 0, 0} end
  elseif f[1] ~= 'queued' then
    return {'over', 0, 0}
  end
  f = call('HMGET', key(id), 'due', 'deadline', 'lease', 'attempts')
  if (f[1] or 0) + 0 > now then return {'wait', 0, f[1] - now} end
  call('ZREM', LATER, id)
  if f[2] + 0 <= now then
    over(id, 'failed', 'its time was over')
    return {'told', (f[4] or 0) + 0, 0}
  end
  local attempts = call('HINCRBY', key(id), 'attempts', 1)
  call('ZREM', OPEN, id)
  call('HSET', key(id), 'state', 'running', 'token', ARGV[at + 1], 'changed', now)
  call('HDEL', key(id), 'progress', 'note')
  call('ZADD', LEASES, now + f[3], id)
  keep(id, max(0, f[2] - now) + call('HGET', key(id), 'ttl') + 2 * f[3])
  return {'run', attempts, f[3] + 0}
end

local taken = {}
for at = 2, #ARGV, 10 do taken[#taken + 1] = take(at) end
return taken
