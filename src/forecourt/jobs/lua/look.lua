-- Arguments: id.
return shown(ARGV[2])
