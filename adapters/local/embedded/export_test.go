package embedded

// Examined returns how many keys of waiting messages scans have read.
func Examined(d *DB) uint64 { return d.examined.Load() }
