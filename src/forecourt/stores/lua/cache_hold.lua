-- Twin of core/cache.py: hold. Key and fields as in cache_look.lua. Arguments: ttl, `variant:id` between spaces.
-- write
do
  local left, held = call('PTTL', $K1), false
  for variant, own in string.gmatch($A2, '([^: ]+):([^ ]+)') do
    local lead = call('HGET', $K1, 'l:' .. variant)
    if lead and string.sub(lead, 9) == own and parse('<d', lead) < now + $A1 then
      call('HSET', $K1, 'l:' .. variant, pack('<d', now + $A1) .. own)
      held = true
    end
  end
  if held then call('PEXPIRE', $K1, max(left, px($A1 + 0))) end
end
