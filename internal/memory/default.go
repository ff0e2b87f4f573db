package memory

// most is 4 GB.
const most = 4e9

// Default is what statistics and training get by with where nothing else is said: half of what is
// free, at most 4 GB.
func Default() int64 {
	free, err := Free()
	if err != nil {
		return most
	}
	return min(free/2, most)
}
