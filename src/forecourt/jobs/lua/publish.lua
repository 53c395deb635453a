-- Arguments: id, owner, endpoint, fingerprint, envelope, max_attempts, lease, delay, expires, ttl, max_queued.
-- Returns 1 and the µs when it was made, or 0 and how the job that there is stands. The hot path: what the caller knows is
-- neither read again nor sent back.
local id, owner = ARGV[2], ARGV[3]
local record = key(id)
if call('HSETNX', record, 'state', 'queued') == 0 then
  local known = shown(id)
  table.insert(known, 1, 0)
  return known
end
if waiting() + call('ZCARD', LATER) + call('ZCARD', LEASES) >= ARGV[12] + 0 then
  call('HDEL', record, 'state')
  return false
end
local at, due = int(now), now + ARGV[9]
call('HSET', record, 'owner', owner, 'endpoint', ARGV[4], 'fingerprint', ARGV[5], 'envelope', ARGV[6],
  'max_attempts', ARGV[7], 'lease', ARGV[8], 'expires', ARGV[10], 'ttl', ARGV[11],
  'attempts', 0, 'created', at, 'deadline', now + ARGV[10], 'due', due, 'changed', at)
local kept = ARGV[10] + ARGV[11] + 2 * ARGV[8]
keep(id, kept)
own(id, owner, kept)
if due <= now then enqueue(id, owner) else call('ZADD', LATER, due, id) end
return {1, at}
