-- Twin of core/cache.py: fill. Key and fields as in cache_look.lua; `n` is how many entries there are.
-- Arguments: variant, names, head, body, id, fresh, keep.
-- write
do
  local got = call('HMGET', $K1, 'v', 'l:' .. $A1, 'n')
  local expires = got[2] and parse('<d', got[2]) or 0
  local mine = got[2] and string.sub(got[2], 9) == $A5
  if not (expires > now and not mine and $A5 ~= '') then
    local count, left = (got[3] or '0') + 0, call('PTTL', $K1)
    local fields = call('HLEN', $K1) - (got[3] and 1 or 0) - (got[1] == '' and 1 or 0)
    if ((got[1] or '') ~= $A2 and count > 0) or fields > 64 then
      call('DEL', $K1)
      count = 0
    elseif mine then
      call('HDEL', $K1, 'l:' .. $A1)
    end
    call('HDEL', $K1, 'p:' .. $A1)
    if call('HEXISTS', $K1, 'm:' .. $A1) == 0 then count = count + 1 end
    call('HSET', $K1, 'v', $A2, 'n', int(count), 'h:' .. $A1, $A3, 'b:' .. $A1, $A4,
      'm:' .. $A1, pack('<ddd', now, now + $A6, now + $A7))
    call('PEXPIRE', $K1, max(left, px($A7 + 0)))
  end
end
