package chat

import (
	"errors"
	"fmt"
	"time"

	"onair/internal/fault"
)

// Config says how much chat there may be.
type Config struct {
	MaxConnections int           `name:"chat-max-connections" yaml:"max_connections" env:"ONAIR_CHAT_MAX_CONNECTIONS" help:"Most chat connections at a time. 0 switches chat off." default:"20000"`
	MaxPerAddress  int           `name:"chat-max-per-address" yaml:"max_per_address" env:"ONAIR_CHAT_MAX_PER_ADDRESS" help:"Most chat connections at a time from one address (for IPv6 from one /64); a school or a mobile network may be one." default:"1000"`
	MaxQueue       int           `name:"chat-max-queue" yaml:"max_queue" env:"ONAIR_CHAT_MAX_QUEUE" help:"How much may wait for a reader, in bytes. Whoever reads slower is disconnected with the reason, and comes back for what it missed." default:"1048576"`
	KeepFor        time.Duration `name:"chat-keep" yaml:"keep" env:"ONAIR_CHAT_KEEP" help:"How long messages are kept." default:"2160h"`
}

// DefaultConfig returns the settings that are used where none are given.
func DefaultConfig() Config {
	return Config{MaxConnections: 20_000, MaxPerAddress: 1000, MaxQueue: 1 << 20, KeepFor: 90 * 24 * time.Hour}
}

// Validate returns a fault for each setting that cannot work.
func (c Config) Validate() error {
	var problems []error
	bad := func(key, cause, hint string) {
		problems = append(problems, fault.New(fault.Invalid, "set", key, cause, hint))
	}
	if c.MaxConnections < 0 {
		bad("chat-max-connections", fmt.Sprintf("%d is less than 0", c.MaxConnections), "Choose 20000, or 0 for no chat")
	}
	if c.MaxPerAddress < 1 {
		bad("chat-max-per-address", fmt.Sprintf("%d is less than 1", c.MaxPerAddress), "Choose 1000")
	}
	if c.MaxQueue < minQueue {
		bad("chat-max-queue", fmt.Sprintf("%d is less than %d, which whoever comes back may have missed", c.MaxQueue, minQueue), "Choose 1048576")
	}
	if c.KeepFor < time.Minute {
		bad("chat-keep", fmt.Sprintf("%v is less than a minute", c.KeepFor), "Choose 2160h, which is 90 days")
	}
	return errors.Join(problems...)
}

// The bounds of chat that are not settings.
const (
	// minQueue is what whoever comes back may be sent at once: all of ringBytes, in its wrapping.
	minQueue = 2 * ringBytes
	// maxText is the longest message, in characters, and maxName the longest name.
	maxText, maxName = 500, 40
	// maxMarks is how many combining marks may be on one character.
	maxMarks = 3
	// maxFrame bounds what a client may send at once, in bytes.
	maxFrame = 8 << 10
	// ringEvents and ringBytes bound what of a room is in memory, for who comes back.
	ringEvents, ringBytes = 1000, 256 << 10
	// pageEvents is what a client is given of the past at once, and may ask for.
	pageEvents = 50
	// maxRooms bounds the rooms in memory.
	maxRooms = 4096
	// maxTalkers bounds the users of a room whose rate is remembered.
	maxTalkers = 4096
	// talkEvery and talkBurst are how often one may write: so often in the long run, and
	// so many at once; addressFactor times as much from one address.
	talkEvery, talkBurst, addressFactor = 2 * time.Second, 5, 10
	// reactEvery and reactBurst are the same of reactions.
	reactEvery, reactBurst = 250 * time.Millisecond, 10
	// tick is how often reactions are told, and countEvery how often counts are: everybody gets
	// each of them.
	tick, countEvery = 500 * time.Millisecond, 5 * time.Second
	// pruneEvery is how often old messages are looked for, and pruneBatch how many go at once.
	pruneEvery, pruneBatch = 10 * time.Minute, 1000
	// idleRoom is how long a room in which nobody is stays in memory.
	idleRoom = 5 * time.Minute
	// clearMessages is how many of somebody's messages go with a ban.
	clearMessages = 200
	// storeTime bounds a question to the database.
	storeTime = 5 * time.Second
	// guestLife is how long a guest is the same one.
	guestLife = 90 * 24 * time.Hour
	// writeTime is how long a write to a client may take, which may be on a bus in a tunnel.
	writeTime = 10 * time.Second
	// stopTime is how long clients have to be told that the server stops.
	stopTime = time.Second
)
