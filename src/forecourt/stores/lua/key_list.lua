-- Twin of core/key_book.py: listed. Key: a hash, id → record. Argument: how many at most.
-- compute
local ok$, v1$ = 1, ''
do
  local records = call('HVALS', $K1)
  v1$ = table.concat(records, '\n', 1, min(#records, $A1 + 0))
end
