-- Arguments: status, how many at most.
local found, most = {}, ARGV[3] + 0
local add = function(ids)
  for _, id in ipairs(ids) do
    local record = #found < most and shown(id)
    if record and record[5] == ARGV[2] then found[#found + 1] = record end
  end
end
if ARGV[2] == 'dead' then add(call('ZREVRANGE', DEAD, 0, most - 1)) end
if ARGV[2] == 'running' then add(call('ZRANGE', LEASES, 0, most - 1)) end
if ARGV[2] == 'queued' then
  add(lined(most, most))
  add(call('ZRANGE', LATER, 0, most - 1))
end
return found
