-- Twin of core/sliding_log.py: take. Key: window, stamps. Arguments: limit, window, cost, shadow.
-- compute
local ok$, v1$, v2$, v3$, v4$, window$, write$, mark$, last$ = 1, 0, 0, 0, 0
do
  local limit, window, cost, refused = $N4
  local hits, moved, first, last = 0, 0, 1
  window$ = window
  local state = call('GET', $K1)
  local stamp = function(place) return (parse('<d', state, 8 * place + 1)) end
  if state then
    local length = #state / 8 - 1
    last = stamp(length)
    if last + stamp(0) <= now then
      first = length + 1
    else
      moved = last - now - window
      moved = moved > 2000 and moved - 1000 or 0
      local after = length + 1
      while first < after do
        local middle = floor((first + after) / 2)
        if stamp(middle) - moved > now - window then after = middle else first = middle + 1 end
      end
    end
    hits = length + 1 - first
    if hits > 0 and (moved > 0 or stamp(0) ~= window) then
      local stamps = { pack('<d', window) }
      for place = first, length do stamps[#stamps + 1] = pack('<d', stamp(place) - moved) end
      last$ = last - moved
      mark$ = table.concat(stamps)
      state, first, last, moved = mark$, 1, last$, 0
    end
  end
  write$ = mark$
  local after = hits
  if cost > 0 and hits + cost > limit then
    ok$ = refused
    v2$ = cost > limit and -1 or stamp(first + hits + cost - limit - 1) + window - now
  elseif cost > 0 then
    after = hits + cost
    v4$ = hits > 0 and max(now, last + 1) or now
    last$ = v4$ + cost - 1
    local stamps = { pack('<d', window), hits > 0 and string.sub(state, 8 * first + 1) or '' }
    for place = v4$, last$ do stamps[#stamps + 1] = pack('<d', place) end
    write$ = table.concat(stamps)
  end
  v1$ = max(0, limit - after)
  if hits > 0 then
    v3$ = stamp(first + max(0, after - limit)) + window - now
  elseif after > 0 then
    v3$ = v4$ + window - now
  end
end
-- write
if write$ then call('SET', $K1, write$, 'PX', px(last$ + window$ - now)) end
-- mark
if mark$ then call('SET', $K1, mark$, 'PX', px(parse('<d', mark$, #mark$ - 7) + window$ - now)) end
