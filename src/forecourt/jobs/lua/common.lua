-- Before every script of a queue, as far as it uses what is here. KEYS[1]: the queue's prefix. ARGV[1]: µs since the
-- epoch, 0 for the server's time. A new job's record has no `attempts`, `changed` and `due` where they say nothing new.
-- Twins of core/jobs.py: `again` of _again, `start` of claimed.
local call, ceil, max, min = redis.call, math.ceil, math.max, math.min
local P = KEYS[1]
local given = ARGV[1] ~= '0'
local now = ARGV[1] + 0
if not given then
  local time = call('TIME')
  now = time[1] * 1000000 + time[2]
end

-- A number as digits, where it is joined to text: `call` writes out whole numbers by itself.
local int = function(n) return string.format('%.0f', n) end

local LATER = P .. ':later'
local LEASES = P .. ':leases'
local DEAD = P .. ':dead'
local RING = P .. ':ring'
local WAITING = P .. ':waiting'
local key = function(id) return P .. ':job:' .. id end

-- Nothing expires by the server's clock where the time is given.
local keep = function(id, us)
  if not given then call('PEXPIRE', key(id), max(1, ceil(us / 1000))) end
end

-- The owner's last thousand jobs are listed for as long as any of them may be there, and up to a minute longer: so most
-- publications find that it is long enough.
local own = function(id, owner, us)
  local listed = P .. ':owned:' .. owner
  call('ZADD', listed, now, id)
  call('ZREMRANGEBYRANK', listed, 0, -1001)
  local ms = ceil(us / 1000)
  if not given and call('PTTL', listed) < ms then call('PEXPIRE', listed, ms + 60000) end
end

local shown = function(id)
  local f = call('HMGET', key(id), 'owner', 'endpoint', 'fingerprint', 'state', 'attempts', 'created', 'changed',
    'reason', 'progress', 'note')
  if not f[4] then return nil end
  return {id, f[1], f[2], f[3], f[4], f[5] or '0', f[6], f[7] or f[6], f[8] or '', f[9] or '-1', f[10] or ''}
end

-- How many jobs stand in lines.
local waiting = function() return (call('GET', WAITING) or 0) + 0 end

-- The first so many jobs of each of so many lines.
local lined = function(lines, most)
  local found = {}
  for _, owner in ipairs(call('LRANGE', RING, 0, lines - 1)) do
    for _, id in ipairs(call('LRANGE', P .. ':line:' .. owner, 0, most - 1)) do found[#found + 1] = id end
  end
  return found
end

local enqueue = function(id, owner)
  owner = owner or call('HGET', key(id), 'owner')
  if call('RPUSH', P .. ':line:' .. owner, id) == 1 then call('RPUSH', RING, owner) end
  call('INCR', WAITING)
end

-- A job waits: in line where it is due, else until then.
local wait = function(id, due)
  call('HSET', key(id), 'state', 'queued', 'due', due, 'changed', now)
  if due <= now then enqueue(id) else call('ZADD', LATER, due, id) end
end

-- A job has ended: it is kept for its ttl.
local over = function(id, state, reason)
  call('HSET', key(id), 'state', state, 'reason', reason, 'changed', now)
  keep(id, call('HGET', key(id), 'ttl') + 0)
  if state == 'dead' then
    call('ZADD', DEAD, now, id)
    call('ZREMRANGEBYSCORE', DEAD, '-inf', now - call('HGET', key(id), 'ttl'))
  end
end

-- An attempt came to nothing: the next one from `due` on, or none. Returns the state.
local again = function(id, due, reason)
  local f = call('HMGET', key(id), 'attempts', 'max_attempts')
  if f[1] + 0 >= f[2] + 0 then
    over(id, 'dead', reason)
    return 'dead'
  end
  wait(id, due)
  return 'queued'
end

local forget = function(set, id)
  if call('EXISTS', key(id)) == 1 then return false end
  call('ZREM', set, id)
  return true
end
