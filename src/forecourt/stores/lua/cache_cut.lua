-- Twin of core/cache.py: cut. Key: the stamp. Arguments: the new stamp, 1 for its soft part only, ttl.
-- write
do
  local old = $A2 == '1' and call('GET', $K1)
  local hard = old and string.match(old, '^[^.]*') or $A1
  call('SET', $K1, hard .. '.' .. $A1, 'PX', px($A3 + 0))
end
