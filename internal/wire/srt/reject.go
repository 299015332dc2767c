package srt

import (
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"onair/internal/fault"
)

// Rejection codes as they stand in a handshake: those of the protocol from 1000 on, those
// of access control (SRT_REJX_…, which libraries print 1000 lower) from 2400 on.
const (
	rejectPeer       = 1002
	rejectRogue      = 1004
	rejectBacklog    = 1005
	rejectVersion    = 1008
	rejectBadSecret  = 1010
	rejectUnsecure   = 1011
	rejectMessageAPI = 1012
	rejectCongestion = 1013
	rejectGroup      = 1015
	rejectTimeout    = 1016
	rejectCrypto     = 1017

	rejectBadRequest   = 2400
	rejectUnauthorized = 2401
	rejectOverload     = 2402
	rejectForbidden    = 2403
	rejectNotFound     = 2404
	rejectUnacceptable = 2406
	rejectConflict     = 2409
	rejectMedia        = 2415
	rejectLocked       = 2423
	rejectInternal     = 2500
	rejectDown         = 2503
)

// reasons says each code in words, for the log here and for what a server answers us, and
// what kind of fault it is.
var reasons = map[uint32]struct {
	kind fault.Kind
	text string
	hint string
}{
	1000:             {fault.Invalid, "it gives no reason", ""},
	1001:             {fault.Unavailable, "it failed", ""},
	rejectPeer:       {fault.Unauthorized, "it does not want the connection", "Check the stream id"},
	1003:             {fault.Unavailable, "it has no room", ""},
	rejectRogue:      {fault.Invalid, "the handshake is not right", ""},
	rejectBacklog:    {fault.TooMany, "it is busy", ""},
	1006:             {fault.Internal, "it failed", ""},
	1007:             {fault.Unavailable, "it is closing", ""},
	rejectVersion:    {fault.Unsupported, "the version of SRT is too old", "Use SRT 1.3 or later"},
	1009:             {fault.Invalid, "the cookies collide", ""},
	rejectBadSecret:  {fault.Unauthorized, "the passphrase is wrong", "Check the passphrase"},
	rejectUnsecure:   {fault.Unauthorized, "one side has a passphrase and the other has none", "Set the same passphrase on both sides, or none"},
	rejectMessageAPI: {fault.Unsupported, "only live mode is possible", "Use transtype=live"},
	rejectCongestion: {fault.Unsupported, "only live mode is possible", "Use transtype=live"},
	1014:             {fault.Unsupported, "the packet filter is not supported", "Switch packet filters (FEC) off"},
	rejectGroup:      {fault.Unsupported, "socket groups (bonding) are not supported", "Use one link, or a second connection as the backup"},
	rejectTimeout:    {fault.Timeout, "it took too long", ""},
	rejectCrypto:     {fault.Unsupported, "the cipher is not supported", "Use AES-CTR (cryptomode 0 or 1)"},

	rejectBadRequest:   {fault.Invalid, "the stream id is not right", "Check the stream id"},
	rejectUnauthorized: {fault.Unauthorized, "the key is wrong", "Check the stream id"},
	rejectOverload:     {fault.TooMany, "there are too many connections", ""},
	rejectForbidden:    {fault.Forbidden, "it is not allowed", ""},
	rejectNotFound:     {fault.NotFound, "there is no such stream", "Check the stream id"},
	2405:               {fault.Unsupported, "the mode is not possible", ""},
	rejectUnacceptable: {fault.Unsupported, "what was asked for is not possible", ""},
	rejectConflict:     {fault.Conflict, "somebody else is publishing", ""},
	rejectMedia:        {fault.Unsupported, "the media are not supported", ""},
	rejectLocked:       {fault.Disabled, "the stream is disabled", ""},
	rejectInternal:     {fault.Internal, "it failed", ""},
	2501:               {fault.Unsupported, "that is not implemented", ""},
	2502:               {fault.Unavailable, "what is behind it failed", ""},
	rejectDown:         {fault.Unavailable, "it is down for the moment", ""},
	2505:               {fault.Unsupported, "the version of SRT is not supported", ""},
	2507:               {fault.Unavailable, "it has no room", ""},
}

// codeOf is the rejection code of a fault. Kinds and codes meet here only.
func codeOf(k fault.Kind) uint32 {
	switch k {
	case fault.Invalid:
		return rejectBadRequest
	case fault.Unauthorized:
		return rejectUnauthorized
	case fault.Forbidden:
		return rejectForbidden
	case fault.NotFound:
		return rejectNotFound
	case fault.Conflict:
		return rejectConflict
	case fault.Disabled:
		return rejectLocked
	case fault.Unsupported:
		return rejectMedia
	case fault.TooLarge:
		return rejectUnacceptable
	case fault.TooMany:
		return rejectOverload
	case fault.Timeout:
		return rejectTimeout
	case fault.Unavailable:
		return rejectDown
	default:
		return rejectInternal
	}
}

// rejection is a refusal with the code that stands for it in the handshake.
type rejection struct {
	code  uint32
	fault *fault.Error
}

func (e *rejection) Error() string { return e.fault.Error() }
func (e *rejection) Unwrap() error { return e.fault }

// refuse makes the fault of a code.
func refuse(op, subject string, code uint32) *rejection {
	r, ok := reasons[code]
	if !ok {
		r.kind, r.text = fault.Invalid, fmt.Sprintf("it answers %d", code)
	}
	cause := fmt.Sprintf("%s (SRT rejection %d)", r.text, code)
	return &rejection{code: code, fault: fault.New(r.kind, op, subject, cause, r.hint)}
}

// refusals bounds how often refused callers are told of in the log.
type refusals struct {
	mu     sync.Mutex
	last   time.Time
	untold int // since the last line
}

func (r *refusals) tell(log *slog.Logger, now time.Time, peer netip.AddrPort, why any) {
	r.mu.Lock()
	untold := r.untold
	quiet := !r.last.IsZero() && now.Sub(r.last) < tellPause
	if quiet {
		r.untold++
	} else {
		r.last, r.untold = now, 0
	}
	r.mu.Unlock()
	if !quiet {
		log.Info("SRT connection refused", "peer", peer, "error", why, "untold", untold)
	}
}
