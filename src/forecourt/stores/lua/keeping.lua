-- Twin of core/keeping.py: keeping, as the server's INFO tells it (CONFIG is forbidden on many). No arguments.
-- compute
local ok$, v1$, v2$ = 1, 1, 1
do
  local says = function(section, field, good)
    local text = redis.pcall('INFO', section)
    local value = type(text) == 'string' and string.match(text, field .. ':(%w+)')
    return not value and 1 or value == good and 2 or 0
  end
  v1$, v2$ = says('memory', 'maxmemory_policy', 'noeviction'), says('persistence', 'aof_enabled', '1')
end
