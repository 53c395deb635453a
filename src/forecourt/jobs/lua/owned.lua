-- Arguments: owner, how many at most, created and id that they are before (0: none). Forgotten ones are dropped.
local listed, created, last = P .. ':owned:' .. ARGV[2], ARGV[4] + 0, ARGV[5]
local from = created > 0 and int(created) or '+inf'
local found = {}
local told = call('ZREVRANGEBYSCORE', listed, from, '-inf', 'WITHSCORES')
for at = 1, #told, 2 do
  local id = told[at]
  if #found >= ARGV[3] + 0 then break end
  if not (created > 0 and told[at + 1] + 0 == created and id >= last) and not forget(listed, id) then
    found[#found + 1] = shown(id)
  end
end
return found
