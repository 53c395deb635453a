-- Twin of core/throttle.py: give_back. Arguments: N, D, max_delay, cost, ticket in two numbers.
-- write
do
  local state = call('GET', $K1)
  if state then
    local tat, rest, written, span = parse('<dddd', state)
    if tat == $A5 + 0 and rest == $A6 + 0 then
      local parts = $A2 + 0
      if rest >= parts then tat, rest = tat + 1, 0 end
      rest = rest - $A4 * $A1
      tat, rest = tat + floor(rest / parts), rest % parts
      local ahead = tat - now + (rest > 0 and 1 or 0)
      if ahead > 0 then
        call('SET', $K1, pack('<dddd', tat, rest, written, span), 'PX', px(ahead))
      else
        call('DEL', $K1)
      end
    end
  end
end
