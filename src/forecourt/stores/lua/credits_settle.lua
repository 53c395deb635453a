-- Twin of core/credits.py: settle. Keys and states as in credits_charge.lua. Arguments: amount, id or id/attempt, keep, lines kept.
-- write
do
  local DAY, actual, attempt, keep = 86400000000, $A1 + 0, $A2, $A3 + 0
  local id = string.match(attempt, '[^/]*')
  local found, a, hold, late = call('GET', $K1), nil, false, false
  local ends = function()
    if a[7] == 1 then return 0 end
    local last = call('ZRANGE', $K3, -1, -1, 'WITHSCORES')[2]
    return max(a[2] + ((a[10] > 0 or a[5] ~= 0) and 400 * DAY or 0), last and last + DAY or 0)
  end
  if found then
    a = {parse('<dddddddddd', found)}
    if a[7] == 1 or a[2] > now or ends() > now then
      hold = call('HGET', $K2, id)
      late = not hold and (call('ZSCORE', $K4, '~' .. attempt) or 0) + 0 > now
        and (call('ZSCORE', $K4, '=' .. id) or 0) + 0 <= now
    end
  end
  if hold then
    local others, mine = {}, false
    for each in string.gmatch(string.sub(hold, 25), '%S+') do
      if each == attempt then mine = true else others[#others + 1] = each end
    end
    if mine and actual == 0 and #others > 0 then
      call('HSET', $K2, id, string.sub(hold, 1, 24) .. table.concat(others, ' '))
      mine = false
    end
    hold = mine and hold
  end
  if hold or late then
    local balance = function() return (a[8] > 0 and max(0, a[9] + a[4] - a[3]) or 0) + a[5] end
    local before, beyond = balance(), actual
    if hold then
      local quota, prepaid, since = parse('<ddd', hold)
      local back = quota - min(actual, quota)
      local spent = min(actual - (quota - back), prepaid)
      a[5], a[6] = a[5] + prepaid - spent, a[6] - quota - prepaid
      if since == a[1] then
        a[3] = a[3] - back
      else
        a[4] = a[4] + min(back, max(0, a[10] - a[4]))
      end
      beyond = actual - (quota - back) - spent
      call('HDEL', $K2, id)
      call('ZREM', $K3, id)
    else
      call('ZREM', $K4, '~' .. attempt)
    end
    local quota = min(beyond, balance() - a[5])
    a[3], a[5] = a[3] + quota, a[5] - (beyond - quota)
    if keep > 0 and actual > 0 then
      call('ZADD', $K4, now + keep, '=' .. id)
      call('ZREMRANGEBYSCORE', $K4, '-inf', now)
      call('ZPOPMIN', $K4, max(0, call('ZCARD', $K4) - 1024))
      call('PEXPIRE', $K4, px(call('ZRANGE', $K4, -1, -1, 'WITHSCORES')[2] - now))
    end
    local finish = ends()
    if finish == 0 then
      call('SET', $K1, pack('<dddddddddd', unpack(a, 1, 10)))
    else
      call('SET', $K1, pack('<dddddddddd', unpack(a, 1, 10)), 'PX', px(finish - now))
      call('PEXPIRE', $K2, px(finish - now))
      call('PEXPIRE', $K3, px(finish - now))
    end
    if balance() ~= before then
      call('XADD', $K5, 'MAXLEN', '~', $A4, '*', 'kind', actual > 0 and 'settle' or 'refund',
        'amount', balance() - before, 'balance', balance(), 'time', now, 'id', id)
      call('PEXPIRE', $K5, px((a[7] == 1 and 400 or 35) * DAY))
    end
  end
end
