//go:build !unix

package doctor

// lowerPriority does nothing where there are no priorities to set.
func lowerPriority(int) {}
