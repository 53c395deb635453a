-- Twin of core/forgetting.py: forget.
-- write
call('DEL', $K1)
