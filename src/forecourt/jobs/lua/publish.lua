-- Arguments: id, owner, endpoint, fingerprint, envelope; max_attempts, lease, delay, expires, ttl, max_queued in one piece.
-- Returns the µs when it was made, or how the job that there is stands. The hot path: what the caller knows is neither
-- read again nor sent back.
local id, owner = ARGV[2], ARGV[3]
local record = key(id)
if call('HSETNX', record, 'state', 'queued') == 0 then return shown(id) end
local max_attempts, lease, delay, expires, ttl, max_queued = struct.unpack('<i8i8i8i8i8i8', ARGV[7])
if waiting() + call('ZCARD', LATER) + call('ZCARD', LEASES) >= max_queued then
  call('HDEL', record, 'state')
  return false
end
call('HSET', record, 'owner', owner, 'endpoint', ARGV[4], 'fingerprint', ARGV[5], 'envelope', ARGV[6],
  'max_attempts', max_attempts, 'lease', lease, 'expires', expires, 'ttl', ttl, 'created', now, 'deadline', now + expires)
local kept = expires + ttl + 2 * lease
keep(id, kept)
own(id, owner, kept)
if delay == 0 then
  enqueue(id, owner)
else
  call('HSET', record, 'due', now + delay)
  call('ZADD', LATER, now + delay, id)
end
return now
