-- Arguments: id, owner, endpoint, fingerprint, envelope, max_attempts, lease, delay, expires, ttl, max_queued.
local id = ARGV[2]
local known = shown(id)
if known then
  table.insert(known, 1, 0)
  return known
end
if waiting() + call('ZCARD', LATER) + call('ZCARD', LEASES) >= ARGV[12] + 0 then return false end
call('HSET', key(id), 'owner', ARGV[3], 'endpoint', ARGV[4], 'fingerprint', ARGV[5], 'envelope', ARGV[6],
  'max_attempts', ARGV[7], 'lease', ARGV[8], 'expires', ARGV[10], 'ttl', ARGV[11],
  'attempts', 0, 'created', int(now), 'deadline', int(now + ARGV[10]))
keep(id, ARGV[10] + ARGV[11] + 2 * ARGV[8])
own(id, ARGV[3], ARGV[10] + ARGV[11] + 2 * ARGV[8])
wait(id, now + ARGV[9])
local made = shown(id)
table.insert(made, 1, 1)
return made
