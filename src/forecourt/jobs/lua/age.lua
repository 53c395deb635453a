-- How long the longest has waited, of the first jobs of 64 lines: each line's head is its oldest.
local most = 0
for _, id in ipairs(lined(64, 1)) do
  local due = call('HGET', key(id), 'due')
  if due then most = max(most, now - due) end
end
return most
