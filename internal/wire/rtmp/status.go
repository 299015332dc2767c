package rtmp

import (
	"github.com/bluenviron/gortmplib/pkg/amf0"

	"onair/internal/fault"
)

// maxDescription bounds the text of a status, in characters.
const maxDescription = 500

// The status codes that encoders know. OBS ignores all others and waits on.
const (
	publishRejected  = "NetStream.Publish.Rejected"
	publishDenied    = "NetStream.Publish.Denied"
	publishBadName   = "NetStream.Publish.BadName"
	playNotFound     = "NetStream.Play.StreamNotFound"
	playFailed       = "NetStream.Play.Failed"
	connectionClosed = "NetConnection.Connect.Closed"
)

// status makes the information object of an onStatus, _result or _error command.
func status(level, code, description string) amf0.Object {
	return amf0.Object{
		{Key: "level", Value: level},
		{Key: "code", Value: code},
		{Key: "description", Value: printable(description, maxDescription)},
	}
}

// publishCode is the status code for a publisher that is refused or cut off.
func publishCode(k fault.Kind) string {
	switch k {
	case fault.Unauthorized, fault.Forbidden, fault.NotFound, fault.Disabled:
		return publishDenied
	case fault.Conflict:
		return publishBadName
	default:
		return publishRejected
	}
}

// playCode is the status code for a player that is refused or cut off.
func playCode(k fault.Kind) string {
	switch k {
	case fault.Unauthorized, fault.Forbidden, fault.NotFound, fault.Disabled:
		return playNotFound
	default:
		return playFailed
	}
}

// explain is what a client is told of an error. The text of one that is no fault may
// tell of our insides.
func explain(err error) string {
	if fault.KindOf(err) == fault.Internal {
		return "the server failed; its log says why"
	}
	return err.Error()
}
