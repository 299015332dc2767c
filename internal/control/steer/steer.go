// Package steer chooses how each viewer gets a stream: over WebRTC while few watch and
// the machine has room, else over HTTP.
package steer
