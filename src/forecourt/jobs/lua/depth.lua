return {(call('GET', WAITING) or 0) + 0, call('ZCARD', LATER), call('ZCARD', LEASES), call('ZCARD', DEAD)}
