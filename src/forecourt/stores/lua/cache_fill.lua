-- Twin of core/cache.py: fill. Key and fields as in cache_look.lua.
-- Arguments: variant, names, head, body, id, fresh, keep.
-- write
do
  local got = call('HMGET', $K1, 'u', 'v', 'n', 'l:' .. $A1)
  local over = got[1] and parse('<d', got[1]) or 0
  if over <= now then
    if got[1] then call('DEL', $K1) end
    got, over = {}, 0
  end
  local expires = got[4] and parse('<d', got[4]) or 0
  local mine = got[4] and string.sub(got[4], 9) == $A5
  if not (expires > now and not mine and $A5 ~= '') then
    local count = (got[3] or '0') + 0
    local fields = call('HLEN', $K1) - (got[1] and 1 or 0) - (got[3] and 1 or 0) - (got[2] == '' and 1 or 0)
    if ((got[2] or '') ~= $A2 and count > 0) or fields > 64 then
      call('DEL', $K1)
      count = 0
    elseif mine then
      call('HDEL', $K1, 'l:' .. $A1)
    end
    call('HDEL', $K1, 'p:' .. $A1)
    if call('HEXISTS', $K1, 'm:' .. $A1) == 0 then count = count + 1 end
    over = max(over, now + $A7)
    call('HSET', $K1, 'v', $A2, 'n', count, 'u', pack('<d', over), 'h:' .. $A1, $A3, 'b:' .. $A1, $A4,
      'm:' .. $A1, pack('<ddd', now, now + $A6, now + $A7))
    call('PEXPIRE', $K1, px(over - now))
  end
end
