-- Twin of core/cache.py: tag. Key: the stamp. Arguments: the stamp to give, ttl.
-- compute
local ok$, v1$ = 1, call('GET', $K1)
local new$ = not v1$
if new$ then v1$ = $A1 .. '.' .. $A1 end
-- write
if new$ then call('SET', $K1, v1$, 'PX', px($A2 + 0)) end
