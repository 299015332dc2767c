package rtc

import (
	"fmt"
	"log/slog"

	"github.com/pion/logging"
)

// loggers hands the library's logs on at level debug: they tell of every datagram that
// a stranger sends. Its finer levels, which hold secrets of ICE, are left out.
type loggers struct{ log *slog.Logger }

// NewLogger implements logging.LoggerFactory.
func (l loggers) NewLogger(scope string) logging.LeveledLogger {
	return logger{l.log.With("scope", scope)}
}

type logger struct{ log *slog.Logger }

func (logger) Trace(string)          {}
func (logger) Tracef(string, ...any) {}
func (logger) Debug(string)          {}
func (logger) Debugf(string, ...any) {}
func (logger) Info(string)           {}
func (logger) Infof(string, ...any)  {}
func (l logger) Warn(m string)       { l.log.Debug("webrtc: " + m) }
func (l logger) Error(m string)      { l.log.Debug("webrtc: " + m) }
func (l logger) Warnf(f string, a ...any) {
	l.log.Debug("webrtc: " + fmt.Sprintf(f, a...))
}
func (l logger) Errorf(f string, a ...any) {
	l.log.Debug("webrtc: " + fmt.Sprintf(f, a...))
}
