-- Twin of lockout.py: give_back. Arguments: limit, window, lockout, cost, ticket.
-- write
do
  local state = call('GET', $K1)
  if state then
    local ends, count = parse('<dd', state)
    if ends > now and ends == $A5 + 0 and count <= $A1 + 0 then
      count = count - $A4
      if count > 0 then
        call('SET', $K1, pack('<dd', ends, count), 'PX', px(ends - now))
      else
        call('DEL', $K1)
      end
    end
  end
end
