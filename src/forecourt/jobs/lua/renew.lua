-- Arguments, for each job: id, token, lease, progress, note. Returns the ids that are not the caller's.
local lost = {}
for at = 2, #ARGV, 5 do
  local id = ARGV[at]
  local f = call('HMGET', key(id), 'state', 'token', 'ttl', 'deadline')
  if f[1] == 'running' and f[2] == ARGV[at + 1] then
    call('ZADD', LEASES, now + ARGV[at + 2], id)
    call('HSET', key(id), 'progress', ARGV[at + 3], 'note', ARGV[at + 4])
    keep(id, max(0, f[4] - now) + f[3] + 2 * ARGV[at + 2])
  else
    lost[#lost + 1] = id
  end
end
return lost
