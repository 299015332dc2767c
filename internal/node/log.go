package node

import (
	"io"
	"log/slog"
	"os"
)

// NewLogger returns the program's logger: text for people, JSON for programs.
func NewLogger(cfg Config, w io.Writer) *slog.Logger {
	var level slog.Level
	// Validated as one of the names that slog knows.
	_ = level.UnmarshalText([]byte(cfg.LogLevel))
	options := &slog.HandlerOptions{Level: level}
	if cfg.LogFormat == "text" || (cfg.LogFormat == "auto" && isTerminal(w)) {
		return slog.New(slog.NewTextHandler(w, options))
	}
	return slog.New(slog.NewJSONHandler(w, options))
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
