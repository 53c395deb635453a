-- Arguments: id. Returns what a message of the job says.
return call('HMGET', key(ARGV[2]), 'owner', 'endpoint', 'fingerprint', 'envelope', 'max_attempts', 'lease', 'expires',
  'ttl')
