package shortcut

import "time"

// Config bounds what connections may cost. It has no settings of its own: the node
// fills it in from those of its HTTP server, so that both judge alike.
type Config struct {
	// HeadTime is how long the head of a request may take from its first byte, and how
	// long a new connection may take for the first.
	HeadTime time.Duration
	// IdleTime is how long a connection may stay open between two requests.
	IdleTime time.Duration
	// DrainTime is how long answers may take after the end of the context of Run.
	DrainTime time.Duration
}
