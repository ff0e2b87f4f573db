package page

import "github.com/monge-ml/monge/diff"

// Drawn lays out a network.
func Drawn(stages []diff.Stage) *Network { return drawn(stages, [2]string{"a", "b"}, nil) }
