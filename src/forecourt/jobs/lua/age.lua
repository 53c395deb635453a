-- How long the longest has waited, of the first jobs of 64 lines: each line's head is its oldest.
local most = 0
for _, id in ipairs(lined(64, 1)) do
  local f = call('HMGET', key(id), 'due', 'created')
  if f[2] then most = max(most, now - (f[1] or f[2])) end
end
return most
