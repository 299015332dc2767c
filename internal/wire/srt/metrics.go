package srt

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// The reasons of onair_srt_rejected_total.
const (
	reasonConnections = "connections" // over Config.MaxConnections
	reasonAddress     = "address"     // over Config.MaxPerAddress
	reasonPending     = "pending"     // over Config.MaxPending
	reasonHandshake   = "handshake"   // no SRT handshake
	reasonCookie      = "cookie"      // an old or invented cookie
	reasonProtocol    = "protocol"    // not live mode, or a version that is not supported
	reasonStreamID    = "stream_id"   // not to be understood
	reasonSecret      = "secret"      // the passphrase is wrong, missing or not wanted
	reasonDenied      = "denied"      // whoever took the request said no
	reasonTimeout     = "timeout"     // the peer or its media stayed away
)

type metrics struct {
	connections prometheus.Gauge
	rejected    *prometheus.CounterVec
	received    prometheus.Counter
	sent        prometheus.Counter
	packets     *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		connections: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "onair_srt_connections", Help: "SRT connections that are open or being decided about."}),
		rejected: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "onair_srt_rejected_total", Help: "SRT connections that were refused or closed for a reason of the server's."}, []string{"reason"}),
		received: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "onair_srt_received_bytes_total", Help: "Bytes of media received over SRT, counted when a connection ends."}),
		sent: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "onair_srt_sent_bytes_total", Help: "Bytes of media sent over SRT, counted when a connection ends."}),
		packets: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "onair_srt_packets_total", Help: "What became of SRT packets, counted when a connection ends."}, []string{"event"}),
	}
	for _, c := range []prometheus.Collector{m.connections, m.rejected, m.received, m.sent, m.packets} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register SRT metrics: %w", err)
		}
	}
	for _, r := range []string{reasonConnections, reasonAddress, reasonPending, reasonHandshake, reasonCookie, reasonProtocol,
		reasonStreamID, reasonSecret, reasonDenied, reasonTimeout} {
		m.rejected.WithLabelValues(r)
	}
	return m, nil
}

func (m *metrics) reject(reason string) { m.rejected.WithLabelValues(reason).Inc() }

// count adds what a connection that ended has done.
func (m *metrics) count(c *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m.received.Add(float64(c.received.totalBytes))
	m.sent.Add(float64(c.transmitted.totalBytes))
	for event, n := range map[string]uint64{
		"received": c.received.total, "lost": c.in.lost, "recovered": c.in.again, "dropped": c.in.dropped,
		"belated": c.in.belated, "overflow": c.in.overflow, "unfinished": c.in.unfinished, "undecrypted": c.undecrypted,
		"sent": c.out.packets, "repeated": c.out.again, "expired": c.out.dropped,
	} {
		m.packets.WithLabelValues(event).Add(float64(n))
	}
}
