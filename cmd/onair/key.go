package main

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"onair/internal/control/auth"
	"onair/internal/control/store"
)

type keyCommand struct {
	List  keyListCommand  `cmd:"" help:"List the streams and their keys."`
	Reset keyResetCommand `cmd:"" help:"Give a stream a new key; the old one stops working."`
	Admin keyAdminCommand `cmd:"" help:"Make a new admin token; the old one stops working."`
}

// database is where the keys are: it may be open in a running server meanwhile.
type database struct {
	Data  string       `name:"data" default:"./onair-data" help:"Data folder of the server."`
	Store store.Config `embed:""`
}

func (d database) open(ctx context.Context) (*store.Store, error) {
	d.Store.Dir = d.Data
	return store.Open(ctx, d.Store, slog.New(slog.DiscardHandler))
}

type keyListCommand struct {
	database `embed:""`
}

// Run prints a line for each stream.
func (cmd keyListCommand) Run(ctx context.Context, c console) error {
	st, err := cmd.open(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	const page = 100
	for cursor := ""; ; {
		streams, next, err := st.LiveStreams(ctx, page, cursor)
		if err != nil {
			return err
		}
		for _, s := range streams {
			fmt.Fprintf(c.out, "%s  %s  %s\n", s.ID, s.StreamKey, s.Title)
		}
		if len(streams) == 0 && cursor == "" {
			fmt.Fprintln(c.err, "There are no streams yet. Create one on the console or with POST /v1/live-streams.")
		}
		if cursor = next; next == "" {
			return nil
		}
	}
}

type keyResetCommand struct {
	database `embed:""`

	Stream string `arg:"" help:"The stream's id, such as ls_…"`
}

// Run prints the new key.
func (cmd keyResetCommand) Run(ctx context.Context, c console) error {
	st, err := cmd.open(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	s, err := st.ResetStreamKey(ctx, cmd.Stream)
	if err != nil {
		return err
	}
	fmt.Fprintln(c.out, s.StreamKey)
	return nil
}

type keyAdminCommand struct {
	database `embed:""`
}

// Run prints the new token.
func (cmd keyAdminCommand) Run(ctx context.Context, c console) error {
	st, err := cmd.open(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	a, err := auth.New(ctx, st, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		return err
	}
	token, err := a.ResetAdminToken(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintln(c.out, token)
	fmt.Fprintln(c.err, "A running server takes it from its next start on.")
	return nil
}
