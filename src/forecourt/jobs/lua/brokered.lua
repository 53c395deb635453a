-- After common.lua, where a broker has the lines: what waits there is counted in a sorted set, by the µs when its time
-- is over. A record lives at least as long as its job might begin: a message that comes again finds it.
local OPEN = P .. ':open'
local kept_for = keep
keep = function(id, us) kept_for(id, max(us, (call('HGET', key(id), 'deadline') or 0) - now)) end

enqueue = function(id) call('ZADD', OPEN, call('HGET', key(id), 'deadline'), id) end

waiting = function()
  for _, id in ipairs(call('ZRANGEBYSCORE', LATER, '-inf', now, 'LIMIT', 0, 256)) do
    if not forget(LATER, id) then
      call('ZREM', LATER, id)
      enqueue(id)
    end
  end
  for _, id in ipairs(call('ZRANGEBYSCORE', LEASES, '-inf', now, 'LIMIT', 0, 64)) do forget(LEASES, id) end
  call('ZREMRANGEBYSCORE', OPEN, '-inf', now)
  return call('ZCARD', OPEN)
end

lined = function(lines, most) return call('ZRANGE', OPEN, 0, max(lines, most) - 1) end

local over_lined = over
over = function(id, state, reason)
  call('ZREM', OPEN, id)
  over_lined(id, state, reason)
end
