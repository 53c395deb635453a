-- Twin of core/credits.py: history. Keys: the account, its journal. Argument: how many lines.
-- compute
local ok$, v1$ = 1, ''
do
  local lines = {}
  for number, entry in ipairs(call('XREVRANGE', $K2, '+', '-', 'COUNT', $A1)) do
    local fields = entry[2]
    lines[number] = table.concat({fields[2], fields[4], fields[6], fields[8], fields[10]}, ' ')
  end
  v1$ = table.concat(lines, '\n')
end
