package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"

	"golang.org/x/sync/errgroup"

	"onair/internal/node"
	"onair/internal/testcard"
)

type serveCommand struct {
	node.Config `embed:""`

	Demo bool `name:"demo" help:"Publish a test picture, and print where to watch it. Needs ffmpeg."`
}

// Run serves until ctx ends.
func (cmd serveCommand) Run(ctx context.Context, c console) error {
	log := node.NewLogger(cmd.Config, c.err)
	n, err := node.New(ctx, cmd.Config, version, log)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return n.Run(ctx) })
	log.Info("ready", "http", n.HTTPAddr().String(), "rtmp", addressText(n.RTMPAddr()), "rtmps", addressText(n.RTMPSAddr()),
		"srt", addressText(n.SRTAddr()), "webrtc", addressText(n.WebRTCAddr()), "version", version)

	base := cmd.baseURL(n.HTTPAddr())
	watch := ""
	if cmd.Demo {
		demo, err := n.DemoStream(ctx)
		if err != nil {
			return err
		}
		watch = base + "/watch/" + demo.PlaybackID
		target := "rtmp://" + dialAddress(n.RTMPAddr()) + "/live/" + demo.StreamKey
		g.Go(func() error { return republishTestcard(ctx, target, testcard.Options{}, log) })
	}
	cmd.greet(c.out, n, base, watch)
	return g.Wait()
}

// greet tells a person what to do next.
func (cmd serveCommand) greet(w io.Writer, n *node.Node, base, watch string) {
	fmt.Fprintf(w, "onair %s   data %s\n", version, cmd.Data)
	if watch != "" {
		fmt.Fprintf(w, "├─ Watch    %s   the test picture\n", watch)
	}
	fmt.Fprintf(w, "├─ Console  %s/   create streams, see what arrives\n", base)
	if token, made := n.AdminToken(); made {
		fmt.Fprintf(w, "│  token    %s   shown this once; a new one: onair key admin\n", token)
	}
	if addr := n.RTMPAddr(); addr != nil {
		fmt.Fprintf(w, "├─ OBS      rtmp://%s/live   the key is on the stream's page\n", publicAddress(addr))
	}
	if addr := n.SRTAddr(); addr != nil {
		fmt.Fprintf(w, "├─ SRT      srt://%s?streamid=publish:KEY\n", dialAddress(addr))
	}
	if n.WebRTCAddr() != nil {
		fmt.Fprintf(w, "├─ WHIP     %s/whip   with the key as the bearer token\n", base)
	}
	fmt.Fprintf(w, "└─ API      %s/docs   health at /healthz, metrics at /metrics\n", base)
}

// baseURL is how a browser on this machine or in its network reaches the pages.
func (cmd serveCommand) baseURL(addr net.Addr) string {
	if u, err := url.Parse(cmd.PublicURL); err == nil && u.Host != "" {
		return strings.TrimRight(cmd.PublicURL, "/")
	}
	return "http://" + dialAddress(addr)
}

// dialAddress is the address by which this machine reaches a listener of its own.
func dialAddress(addr net.Addr) string {
	host, port, err := net.SplitHostPort(addressText(addr))
	if err != nil {
		return addressText(addr)
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}

// publicAddress is the address for an encoder in the same network; the usual RTMP port
// is left out.
func publicAddress(addr net.Addr) string {
	return strings.TrimSuffix(dialAddress(addr), ":1935")
}

func addressText(addr net.Addr) string {
	if addr == nil {
		return ""
	}
	return addr.String()
}
