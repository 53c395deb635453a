-- Twin of core/sliding_window.py: give_back. Arguments: limit, window, cost, ticket.
-- write
do
  local window, state = $A2 + 0, call('GET', $K1)
  if state then
    local start, current, previous, kept = parse('<dddd', state)
    if now < start then
      start = now
    elseif now >= start + (current > 0 and 2 or 1) * min(window, kept) then
      current, previous = 0, 0
    elseif now >= start + window then
      start, current, previous = start + window, 0, current
    end
    local mine = true
    if current > 0 and start == $A4 + 0 then
      current = max(0, current - $A3)
    elseif previous > 0 and start - window == $A4 + 0 then
      previous = max(0, previous - $A3)
    else
      mine = false
    end
    if mine and current + previous > 0 then
      local ttl = px(start + (current > 0 and 2 or 1) * window - now)
      call('SET', $K1, pack('<dddd', start, current, previous, window), 'PX', ttl)
    elseif mine then
      call('DEL', $K1)
    end
  end
end
