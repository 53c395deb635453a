-- Twin of core/cache.py: let_pass. Key and fields as in cache_look.lua. Arguments: variant, id, µs.
-- write
do
  local got = call('HMGET', $K1, 'u', 'l:' .. $A1)
  local over = got[1] and parse('<d', got[1]) or 0
  if got[1] and over <= now then
    call('DEL', $K1)
    over = 0
  elseif got[2] and string.sub(got[2], 9) == $A2 then
    call('HDEL', $K1, 'l:' .. $A1)
  end
  over = max(over, now + $A3)
  call('HSET', $K1, 'p:' .. $A1, pack('<d', now + $A3), 'u', pack('<d', over))
  call('PEXPIRE', $K1, px(over - now))
end
