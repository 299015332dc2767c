package rtc

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// Reasons of rejection: the values of the label "reason".
const (
	reasonSessions = "sessions"
	reasonAddress  = "address"
	reasonOffer    = "offer"
	reasonDenied   = "denied"
	reasonConnect  = "connect_timeout"
	reasonTCP      = "tcp_connections"
	reasonStreams  = "rtp_streams"
)

type metrics struct {
	sessions, viewers, tcp                  prometheus.Gauge
	rejected, dropped                       *prometheus.CounterVec
	packets, lost, repaired, nacks, keys    prometheus.Counter
	silence, reordered, overflow, malformed prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	count := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "onair_webrtc_" + name, Help: help})
	}
	m := &metrics{
		sessions: prometheus.NewGauge(prometheus.GaugeOpts{Name: "onair_webrtc_sessions", Help: "WebRTC sessions, from the POST to the end."}),
		viewers:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "onair_webrtc_viewers", Help: "WebRTC viewers, from the POST to the end."}),
		tcp:      prometheus.NewGauge(prometheus.GaugeOpts{Name: "onair_webrtc_tcp_connections", Help: "TCP connections to the WebRTC port."}),
		rejected: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "onair_webrtc_rejected_total", Help: "WebRTC sessions and connections that were not taken, by reason."}, []string{"reason"}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "onair_webrtc_dropped_frames_total", Help: "Frames received over WebRTC that could not be used, by reason."}, []string{"reason"}),
		packets:   count("packets_total", "RTP packets received."),
		lost:      count("lost_packets_total", "RTP packets that were given up."),
		repaired:  count("repaired_packets_total", "RTP packets that came after they had been asked for again."),
		nacks:     count("nacks_total", "RTP packets asked for again."),
		keys:      count("key_requests_total", "Key frames asked for."),
		silence:   count("silence_packets_total", "Packets of silence put where a publisher sent no sound."),
		reordered: count("late_packets_total", "RTP packets that came too late or twice."),
		overflow:  count("overflow_packets_total", "RTP packets dropped because too many wait for a missing one."),
		malformed: count("malformed_packets_total", "Packets that are no RTP."),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.sessions, m.viewers, m.tcp, m.rejected, m.dropped, m.packets, m.lost, m.repaired,
		m.nacks, m.keys, m.silence, m.reordered, m.overflow, m.malformed} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register WebRTC metrics: %w", err)
		}
	}
	for _, r := range []string{reasonSessions, reasonAddress, reasonOffer, reasonDenied, reasonConnect, reasonTCP, reasonStreams} {
		m.rejected.WithLabelValues(r)
	}
	return m, nil
}
