-- Twin of core/cache.py: log. Key: a sorted set, number and text → number. Arguments: the last number known, ttl.
-- compute
local ok$, v1$, v2$, v3$, begun$ = 1, now, 0, '', false
do
  local last = call('ZRANGE', $K1, -1, -1, 'WITHSCORES')
  if last[1] then
    v1$ = last[2] + 0
    if call('ZCOUNT', $K1, $A1, $A1) > 0 then
      v2$ = 1
      local texts = call('ZRANGEBYSCORE', $K1, '(' .. $A1, '+inf')
      for at, text in ipairs(texts) do texts[at] = string.sub(text, string.find(text, ' ', 1, true) + 1) end
      v3$ = table.concat(texts, '\n')
    end
  else
    begun$ = true
  end
end
-- write
if begun$ then
  call('ZADD', $K1, now, int(now) .. ' ')
  call('PEXPIRE', $K1, px($A2 + 0))
end
