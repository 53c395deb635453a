-- Twin of core/cache.py: hold. Key and fields as in cache_look.lua. Arguments: ttl, `variant:id` between spaces.
-- write
do
  local over = call('HGET', $K1, 'u')
  over = over and parse('<d', over) or 0
  if over > now then
    local held = false
    for variant, own in string.gmatch($A2, '([^: ]+):([^ ]+)') do
      local lead = call('HGET', $K1, 'l:' .. variant)
      if lead and string.sub(lead, 9) == own and parse('<d', lead) < now + $A1 then
        call('HSET', $K1, 'l:' .. variant, pack('<d', now + $A1) .. own)
        held = true
      end
    end
    if held then
      over = max(over, now + $A1)
      call('HSET', $K1, 'u', pack('<d', over))
      call('PEXPIRE', $K1, px(over - now))
    end
  end
end
