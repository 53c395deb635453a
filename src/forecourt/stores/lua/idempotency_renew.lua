-- Twin of core/idempotency.py: renew. Key as in idempotency_claim.lua. Arguments: lease, fence/print between spaces.
-- write
do
  local was = call('HMGET', $K1, 'fence', 'until', 'ends')
  if was[1] and was[3] + 0 > now then
    for holder in string.gmatch($A2, '%S+') do
      local fence, print = string.match(holder, '^([^/]*)/?(.*)')
      if fence == was[1] then
        local till = max(was[2], now + $A1)
        local ends = max(was[3], till)
        call('HSET', $K1, 'until', till, 'ends', ends)
        if print ~= '' then
          local raw = string.gsub(print, '..', function(hex) return string.char(tonumber(hex, 16)) end)
          call('HSET', $K1, 'print', raw)
        end
        call('PEXPIRE', $K1, px(ends - now))
        break
      end
    end
  end
end
