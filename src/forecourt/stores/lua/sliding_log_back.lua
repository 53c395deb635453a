-- Twin of core/sliding_log.py: give_back. Arguments: limit, window, cost, ticket.
-- write
do
  local state = call('GET', $K1)
  if state then
    local stamp = function(place) return (parse('<d', state, 8 * place + 1)) end
    local length, first = #state / 8 - 1, 1
    while first <= length and stamp(first) < $A4 + 0 do first = first + 1 end
    local after = first
    while after <= length and stamp(after) < $A4 + $A3 do after = after + 1 end
    local left = length - (after - first)
    if left == 0 then
      call('DEL', $K1)
    elseif left < length then
      local rest = string.sub(state, 1, 8 * first) .. string.sub(state, 8 * after + 1)
      call('SET', $K1, rest, 'PX', px(parse('<d', rest, #rest - 7) + stamp(0) - now))
    end
  end
end
