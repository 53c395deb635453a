-- Twin of core/cache.py: look. Key: a hash. `v`: names; `n`: how many entries; `u`: a double, when all of it is over; of
-- each variant x: `h:x` head, `b:x` body, `m:x` three doubles (filled, fresh, keep), `l:x` a double and an id (the lead),
-- `p:x` a double (the pass). Arguments: variant, names, id, ttl, unwanted.
-- compute
local ok$, v1$, v2$, v3$, v4$, v5$, v6$, v7$, until$ = 1, 0, 0, 0, 0, $A2, '', '', 0
do
  local got = call('HMGET', $K1, 'u', 'v', 'n', 'm:' .. $A1, 'l:' .. $A1, 'p:' .. $A1)
  if got[1] then until$ = parse('<d', got[1]) end
  if until$ <= now then got = {} end
  if (got[3] or '0') + 0 > 0 and got[2] ~= $A2 then
    v1$, v5$ = 6, got[2]
  else
    local filled, fresh, keep
    if got[4] then
      filled, fresh, keep = parse('<ddd', got[4])
      if keep <= now or filled == $A5 + 0 then filled = nil end
    end
    local expires = got[5] and parse('<d', got[5]) or 0
    local passing = got[6] and parse('<d', got[6]) or 0
    if filled and now < fresh then
      v1$ = 3
    elseif expires > now and string.sub(got[5], 9) ~= $A3 then
      v1$, v2$ = filled and 5 or 1, expires - now
    elseif not filled and passing > now then
      v1$, v2$ = 2, passing - now
    else
      v1$ = filled and 4 or 0
    end
    if filled then
      v3$, v4$ = max(0, now - filled), filled
      local parts = call('HMGET', $K1, 'h:' .. $A1, 'b:' .. $A1)
      v6$, v7$ = parts[1], parts[2]
    end
  end
end
-- write
if v1$ == 0 or v1$ == 4 then
  if until$ <= now then call('DEL', $K1) end
  local over = max(until$ > now and until$ or 0, now + $A4)
  call('HSET', $K1, 'l:' .. $A1, pack('<d', now + $A4) .. $A3, 'u', pack('<d', over))
  call('PEXPIRE', $K1, px(over - now))
end
