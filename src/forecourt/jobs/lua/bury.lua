-- Arguments: id, envelope, 1 where the job waits without a message, and so is dead again. Keeps what a dead job was, so
-- that it can be tried again.
local state = call('HGET', key(ARGV[2]), 'state')
if state == 'queued' and ARGV[4] == '1' then
  call('ZREM', LATER, ARGV[2])
  over(ARGV[2], 'dead', 'its message could not be sent')
end
if state == 'dead' or state == 'queued' then call('HSET', key(ARGV[2]), 'envelope', ARGV[3]) end
return false
