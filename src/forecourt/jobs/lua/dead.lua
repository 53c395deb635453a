-- Arguments: how many at most. Those that were forgotten are dropped on the way.
local found = {}
for _, id in ipairs(call('ZREVRANGE', DEAD, 0, ARGV[2] - 1)) do
  if not forget(DEAD, id) then found[#found + 1] = shown(id) end
end
return found
