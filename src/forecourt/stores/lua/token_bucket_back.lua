-- Twin of core/token_bucket.py: give_back. Arguments: capacity, N, D, cost, ticket.
-- write
do
  local period, parts, debt = $A2 + 0, $A3 + 0, 0
  local full = $A1 * period
  local own = ceil(full / parts)
  local state = call('GET', $K1)
  if state then
    local tat, rest, span = parse('<ddd', state)
    local ahead = tat - now
    if rest > 0 then ahead = ahead + 1 end
    if ahead > 0 and span ~= own then
      debt = min(full, ceil(min(ahead, span) / span * own) * parts)
    elseif ahead > 0 then
      debt = min(full, min(own, tat - now) * parts + min(rest, parts - 1))
    end
  end
  local back = min($A4 * period, ($A5 - now) * parts)
  if debt > 0 and back >= debt then
    call('DEL', $K1)
  elseif debt > 0 and back > 0 then
    debt = debt - back
    call('SET', $K1, pack('<ddd', now + floor(debt / parts), debt % parts, own), 'PX', px(ceil(debt / parts)))
  end
end
