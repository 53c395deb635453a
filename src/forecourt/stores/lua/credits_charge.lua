-- Twin of core/credits.py: charge. Keys: account, holds, due, ids, journal (see core/books.py). Arguments: amount, ttl, id,
-- every, quota, rollover, lines kept; `id` may be id/attempt. The account is ten numbers, in the order of core/accounts.py: 1 since, 2 renews,
-- 3 used, 4 carried, 5 prepaid, 6 held, 7 funded, 8 every, 9 amount, 10 rollover. A hold is three: its quota and prepaid
-- parts, and when its period began; then its attempts, between spaces. `due` has when it expires.
-- compute
local ok$, v1$, v2$, v3$, v4$, write$, mark$ = 1, 0, -1, 0, 0, false, false
do
  local DAY, cost, attempt = 86400000000, $A1 + 0, $A3
  local id = string.match(attempt, '[^/]*')
  local every, amount, rollover = $A4 + 0, $A5 + 0, $A6 + 0
  local found, a, lines, back = call('GET', $K1), {0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, {}, {}

  local ends = function()
    if a[7] == 1 then return 0 end
    local last = call('ZRANGE', $K3, -1, -1, 'WITHSCORES')[2]
    return max(a[2] + ((a[10] > 0 or a[5] ~= 0) and 400 * DAY or 0), last and last + DAY or 0)
  end
  local known, over = false, false
  if found then
    a = {parse('<dddddddddd', found)}
    over = a[7] == 0 and a[2] <= now and ends() <= now
    known = not over
    if over then a = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0} end
  end
  local balance = function() return (a[8] > 0 and max(0, a[9] + a[4] - a[3]) or 0) + a[5] end
  local note = function(kind, own, change) lines[#lines + 1] = {kind, own, int(change), int(balance())} end
  local text = function() return pack('<dddddddddd', unpack(a, 1, 10)) end

  -- Expired holds come back, the oldest first.
  if a[6] > 0 then
    for _, own in ipairs(call('ZRANGEBYSCORE', $K3, '-inf', now, 'LIMIT', 0, 64)) do
      local before = balance()
      local expired = call('HGET', $K2, own)
      local quota, prepaid, since = parse('<ddd', expired)
      a[5], a[6] = a[5] + prepaid, a[6] - quota - prepaid
      if since == a[1] then
        a[3] = a[3] - quota
      else
        a[4] = a[4] + min(quota, max(0, a[10] - a[4]))
      end
      if balance() ~= before then note('expire', own, balance() - before) end
      back[#back + 1] = own
      back[own] = string.sub(expired, 25)
    end
  end

  -- The quota is brought to this instant and these terms, and pays a debt.
  local index = function(kind, at)
    local day = floor(at / DAY)
    if kind == 1 then return day end
    if kind == 2 then return floor((day + 3) / 7) end
    local era = floor((day + 719468) / 146097)
    local of_era = day + 719468 - era * 146097
    local year = floor((of_era - floor(of_era / 1460) + floor(of_era / 36524) - floor(of_era / 146096)) / 365)
    local of_year = of_era - (365 * year + floor(year / 4) - floor(year / 100))
    return 12 * (year + era * 400) + floor((5 * of_year + 2) / 153) + 2
  end
  local start = function(kind, number)
    if kind == 1 then return number * DAY end
    if kind == 2 then return (number * 7 - 3) * DAY end
    local year, month = floor((number - 2) / 12), (number - 2) % 12
    local days = 365 * year + floor(year / 4) - floor(year / 100) + floor(year / 400)
    return (days + floor((153 * month + 2) / 5) - 719468) * DAY
  end
  if known and cost == 0 then every, amount, rollover = a[8], a[9], a[10] end
  if every == 0 then
    a[8], a[9], a[10] = 0, 0, 0
  else
    local begins, carried = a[1], 0
    if every ~= a[8] or now >= a[2] then
      local number = index(every, max(now, a[1]))
      begins, a[2] = start(every, number), start(every, number + 1)
      if begins > a[1] and a[8] > 0 then
        local silent = max(0, index(a[8], now) - index(a[8], a[1]) - 1)
        carried = min(max(0, a[9] + a[4] - a[3]) + min(silent, 1000) * a[9], a[10])
      end
    end
    a[8], a[9], a[10] = every, amount, rollover
    if begins > a[1] then
      a[1], a[3], a[4] = begins, 0, carried
      note('renew', '', amount + carried)
    end
  end
  if a[5] < 0 then
    local paid = min(balance() - a[5], -a[5])
    a[3], a[5] = a[3] + paid, a[5] + paid
  end

  -- What was swept, the account, the first `count` lines, and a new hold.
  local save = function(account, count, hold)
    if over then call('DEL', $K2, $K3) end
    for _, own in ipairs(back) do
      call('HDEL', $K2, own)
      call('ZREM', $K3, own)
      for each in string.gmatch(back[own], '%S+') do call('ZADD', $K4, now + DAY, '~' .. each) end
    end
    if #back > 0 then
      call('ZREMRANGEBYSCORE', $K4, '-inf', now)
      call('ZPOPMIN', $K4, max(0, call('ZCARD', $K4) - 1024))
      call('PEXPIRE', $K4, px(call('ZRANGE', $K4, -1, -1, 'WITHSCORES')[2] - now))
    end
    if hold then
      call('HSET', $K2, id, hold)
      call('ZADD', $K3, 'GT', now + $A2, id)
      call('ZREM', $K4, '~' .. attempt)
    end
    local finish = ends()
    if finish == 0 then
      call('SET', $K1, account)
    else
      call('SET', $K1, account, 'PX', px(finish - now))
      call('PEXPIRE', $K2, px(finish - now))
      call('PEXPIRE', $K3, px(finish - now))
    end
    for number = 1, count do
      local kind, own, change, after = unpack(lines[number])
      call('XADD', $K5, 'MAXLEN', '~', $A7, '*', 'kind', kind, 'amount', change, 'balance', after, 'time', now, 'id', own)
    end
    if count > 0 then call('PEXPIRE', $K5, px((a[7] == 1 and 400 or 35) * DAY)) end
  end
  local before, count = text(), #lines
  if #back > 0 then mark$ = function() save(before, count) end end

  local hold = a[6] > 0 and not back[id] and call('HGET', $K2, id)
  local new = cost > 0 and not hold and (call('ZSCORE', $K4, '=' .. id) or 0) + 0 <= now
  if a[8] > 0 then v2$ = a[2] - now end
  if new and cost > balance() then
    ok$ = 0
    if a[8] > 0 then
      local renewals = ceil((cost - balance()) / a[9])
      if cost > a[9] + a[10] + max(0, a[5]) or renewals > 1500 then
        v2$ = -1
      else
        v2$ = start(a[8], index(a[8], max(now, a[1])) + renewals) - now
      end
    end
  elseif new then
    local quota = min(cost, balance() - a[5])
    a[3], a[5], a[6] = a[3] + quota, a[5] - (cost - quota), a[6] + cost
    note('charge', id, -cost)
    hold = pack('<ddd', quota, cost - quota, a[1]) .. attempt
    local charged = text()
    write$ = function() save(charged, #lines, hold) end
  elseif cost > 0 and hold and not string.find(' ' .. string.sub(hold, 25) .. ' ', ' ' .. attempt .. ' ', 1, true) then
    local by = {}
    for each in string.gmatch(string.sub(hold, 25), '%S+') do by[#by + 1] = each end
    by[#by + 1] = attempt
    hold = string.sub(hold, 1, 24) .. table.concat(by, ' ', max(1, #by - 7))
    write$ = function() save(before, count, hold) end
  elseif known and before ~= found then
    write$ = function() save(before, count) end
  end
  if hold then
    local quota, prepaid = parse('<dd', hold)
    v3$ = quota + prepaid
  end
  v1$, v4$ = balance(), a[6]
end
-- write
if write$ then write$() end
-- mark
if mark$ then mark$() end
