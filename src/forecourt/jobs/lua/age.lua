-- How long the longest has waited, of the first 64 owners: each line's head is its oldest.
local most = 0
for _, owner in ipairs(call('LRANGE', RING, 0, 63)) do
  local id = call('LINDEX', P .. ':line:' .. owner, 0)
  local due = id and call('HGET', key(id), 'due')
  if due then most = max(most, now - due) end
end
return most
