-- Twin of core/key_book.py: drop. Key: a hash, id → record. Argument: id.
-- write
call('HDEL', $K1, $A1)
