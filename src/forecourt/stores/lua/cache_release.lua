-- Twin of core/cache.py: release. Key and fields as in cache_look.lua. Arguments: variant, id.
-- write
do
  local got = call('HMGET', $K1, 'u', 'l:' .. $A1)
  if got[1] and parse('<d', got[1]) > now and got[2] and string.sub(got[2], 9) == $A2 then
    call('HDEL', $K1, 'l:' .. $A1)
  end
end
