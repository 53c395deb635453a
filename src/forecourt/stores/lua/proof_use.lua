-- Twin of core/revocation.py: use. Key: until when it is remembered, id of the call. Arguments: id, µs to remember it.
-- compute
local ok$, v1$, new$ = 1, 0, true
do
  local state = call('GET', $K1)
  if state and parse('<d', state) > now then
    new$ = false
    if string.sub(state, 9) ~= $A1 then ok$, v1$ = 0, 1 end
  end
end
-- write
if new$ then call('SET', $K1, pack('<d', now + $A2) .. $A1, 'PX', px($A2 + 0)) end
