-- Twin of core/lease.py: release. Key as in lease.lua. Argument: ids between spaces.
-- write
for id in string.gmatch($A1, '%S+') do call('ZREM', $K1, id) end
