-- Twin of core/credits.py: keep_holds. Keys and states as in credits_charge.lua. Arguments: ttl, ids or attempts between spaces.
-- write
do
  local DAY, found = 86400000000, call('GET', $K1)
  local a = {parse('<dddddddddd', found or pack('<dddddddddd', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0))}
  local ends = function()
    local last = call('ZRANGE', $K3, -1, -1, 'WITHSCORES')[2]
    return max(a[2] + ((a[10] > 0 or a[5] ~= 0) and 400 * DAY or 0), last and last + DAY or 0)
  end
  if found and (a[7] == 1 or a[2] > now or ends() > now) then
    for id in string.gmatch($A2, '([^/%s]+)%S*') do call('ZADD', $K3, 'XX', 'GT', now + $A1, id) end
    if a[7] == 0 then
      for _, key in ipairs({$K1, $K2, $K3}) do call('PEXPIRE', key, px(ends() - now)) end
    end
  end
end
