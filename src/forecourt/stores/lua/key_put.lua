-- Twin of core/key_book.py: put. Key: a hash, id → record. Arguments: id, record.
-- write
call('HSET', $K1, $A1, $A2)
