-- Twin of core/cache.py: let_pass. Key and fields as in cache_look.lua. Arguments: variant, id, µs.
-- write
do
  local lead, left = call('HGET', $K1, 'l:' .. $A1), call('PTTL', $K1)
  if lead and string.sub(lead, 9) == $A2 then call('HDEL', $K1, 'l:' .. $A1) end
  call('HSET', $K1, 'p:' .. $A1, pack('<d', now + $A3))
  call('PEXPIRE', $K1, max(left, px($A3 + 0)))
end
