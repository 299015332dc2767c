package egress

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// Reasons for which frames or packets are not sent: the values of the label "reason".
const (
	dropMalformed = "malformed" // a frame that cannot be packetised
	dropLag       = "lag"       // frames that a loop or a viewer was too late for
	dropTCP       = "tcp_full"  // packets for a TCP connection that does not take more
	dropSend      = "send"      // datagrams that the system did not send
	dropInbox     = "feedback"  // feedback that came faster than it was looked at
	dropHandshake = "handshake" // datagrams of handshakes, beyond what waits for one
)

type metrics struct {
	viewers                                        prometheus.Gauge
	packets, bytes, repaired, refused, keyRequests prometheus.Counter
	replays, checks, badChecks, malformed, batches prometheus.Counter
	dropped                                        *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	count := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "onair_webrtc_play_" + name, Help: help})
	}
	m := &metrics{
		viewers:     prometheus.NewGauge(prometheus.GaugeOpts{Name: "onair_webrtc_play_connected", Help: "WebRTC viewers whose handshake is done."}),
		packets:     count("packets_total", "RTP packets sent to viewers."),
		bytes:       count("bytes_total", "Bytes of RTP sent to viewers."),
		repaired:    count("repaired_packets_total", "RTP packets sent again because a viewer missed them."),
		refused:     count("unrepaired_packets_total", "Requests for packets that were not sent again: too many, or too old."),
		keyRequests: count("key_requests_total", "Key frames asked for on behalf of viewers."),
		replays:     count("replays_total", "Viewers that began with a group of pictures from memory."),
		checks:      count("checks_total", "Connectivity checks answered."),
		badChecks:   count("bad_checks_total", "Connectivity checks that were not authentic."),
		malformed:   count("malformed_packets_total", "Feedback of viewers that was not authentic or not understood."),
		batches:     count("send_calls_total", "System calls that packets were sent with."),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "onair_webrtc_play_dropped_total", Help: "Frames and packets that were not sent or not looked at, by reason."}, []string{"reason"}),
	}
	for _, r := range []string{dropMalformed, dropLag, dropTCP, dropSend, dropInbox, dropHandshake} {
		m.dropped.WithLabelValues(r)
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.viewers, m.packets, m.bytes, m.repaired, m.refused, m.keyRequests,
		m.replays, m.checks, m.badChecks, m.malformed, m.batches, m.dropped} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics of WebRTC viewers: %w", err)
		}
	}
	return m, nil
}
