return {waiting(), call('ZCARD', LATER), call('ZCARD', LEASES), call('ZCARD', DEAD)}
