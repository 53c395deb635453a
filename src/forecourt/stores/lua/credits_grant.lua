-- Twin of core/credits.py: grant. Keys and states as in credits_charge.lua. Arguments: amount, id, keep, lines kept.
-- compute
local ok$, v1$, v2$, a$, over$ = 1, 0, 0, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, false
do
  local DAY, found = 86400000000, call('GET', $K1)
  if found then
    local a = {parse('<dddddddddd', found)}
    if a[7] == 0 and a[2] <= now then
      local last = call('ZRANGE', $K3, -1, -1, 'WITHSCORES')[2]
      over$ = max(a[2] + ((a[10] > 0 or a[5] ~= 0) and 400 * DAY or 0), last and last + DAY or 0) <= now
    end
    if not over$ then a$ = a end
  end
  v1$ = (a$[8] > 0 and max(0, a$[9] + a$[4] - a$[3]) or 0) + a$[5]
  if (call('ZSCORE', $K4, '+' .. $A2) or 0) + 0 <= now then
    a$[5] = a$[5] + $A1
    if a$[5] > -4503599627370496 and a$[5] < 4503599627370496 then
      v1$, v2$ = v1$ + $A1, 1
    else
      ok$ = 0
    end
  end
end
-- write
if v2$ == 1 then
  if over$ then call('DEL', $K2, $K3) end
  if a$[7] == 0 then
    a$[7] = 1
    call('PERSIST', $K2)
    call('PERSIST', $K3)
  end
  call('SET', $K1, pack('<dddddddddd', unpack(a$, 1, 10)))
  call('ZADD', $K4, now + $A3, '+' .. $A2)
  call('ZREMRANGEBYSCORE', $K4, '-inf', now)
  call('ZPOPMIN', $K4, max(0, call('ZCARD', $K4) - 1024))
  call('PEXPIRE', $K4, px(call('ZRANGE', $K4, -1, -1, 'WITHSCORES')[2] - now))
  call('XADD', $K5, 'MAXLEN', '~', $A4, '*', 'kind', 'grant', 'amount', $A1, 'balance', v1$, 'time', now, 'id', $A2)
  call('PEXPIRE', $K5, px(400 * 86400000000))
end
