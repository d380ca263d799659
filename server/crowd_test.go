package server_test

// crowd is how many there are: fewer under the race detector.
func crowd(whole, racing int) int {
	if race {
		return racing
	}
	return whole
}
