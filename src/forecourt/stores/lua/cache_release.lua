-- Twin of core/cache.py: release. Key and fields as in cache_look.lua. Arguments: variant, id.
-- write
do
  local lead = call('HGET', $K1, 'l:' .. $A1)
  if lead and string.sub(lead, 9) == $A2 then call('HDEL', $K1, 'l:' .. $A1) end
end
