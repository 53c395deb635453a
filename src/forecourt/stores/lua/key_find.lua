-- Twin of core/key_book.py: find. Key: a hash, id → record. Argument: id.
-- compute
local ok$, v1$ = 1, call('HGET', $K1, $A1) or ''
