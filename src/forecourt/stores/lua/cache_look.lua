-- Twin of core/cache.py: look. Key: a hash. `v`: names; of each variant x: `h:x` head, `b:x` body, `m:x` three doubles
-- (filled, fresh, keep), `l:x` a double and an id (the lead), `p:x` a double (the pass).
-- Arguments: variant, names, id, ttl, unwanted.
-- compute
local ok$, v1$, v2$, v3$, v4$, v5$, v6$, v7$ = 1, 0, 0, 0, 0, $A2, '', ''
do
  local got = call('HMGET', $K1, 'v', 'm:' .. $A1, 'l:' .. $A1, 'p:' .. $A1, 'n')
  if (got[5] or '0') + 0 > 0 and (got[1] or '') ~= $A2 then
    v1$, v5$ = 6, got[1] or ''
  else
    local filled, fresh, keep = 0, 0, 0
    if got[2] then filled, fresh, keep = parse('<ddd', got[2]) end
    if keep <= now or filled == $A5 + 0 then filled = nil end
    local expires = got[3] and parse('<d', got[3]) or 0
    local passing = got[4] and parse('<d', got[4]) or 0
    if filled and now < fresh then
      v1$ = 3
    elseif expires > now and string.sub(got[3], 9) ~= $A3 then
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
  local left = call('PTTL', $K1)
  call('HSET', $K1, 'l:' .. $A1, pack('<d', now + $A4) .. $A3)
  if left < px($A4 + 0) then call('PEXPIRE', $K1, px($A4 + 0)) end
end
