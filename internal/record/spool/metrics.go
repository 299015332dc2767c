package spool

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	sent, refused prometheus.Counter
	uploads       *prometheus.CounterVec
}

// newMetrics makes the package's metrics and registers them with reg, if there is one.
func newMetrics(s *Spool, reg prometheus.Registerer) *metrics {
	const prefix = "onair_record_spool_"
	m := &metrics{
		sent:    prometheus.NewCounter(prometheus.CounterOpts{Name: prefix + "sent_bytes_total", Help: "Bytes of objects that the bucket took."}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{Name: prefix + "refused_total", Help: "Objects that were not taken because too much was waiting (record-spool-bytes)."}),
		uploads: prometheus.NewCounterVec(prometheus.CounterOpts{Name: prefix + "uploads_total", Help: "Attempts to send an object or an index to the bucket, by result: ok, error."}, []string{"result"}),
	}
	if reg == nil {
		return m
	}
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: prefix + name, Help: help}, func() float64 {
			s.mu.Lock()
			defer s.mu.Unlock()
			return value()
		})
	}
	reg.MustRegister(m.sent, m.refused, m.uploads,
		gauge("bytes", "Bytes that wait to be sent to the bucket (record-spool-bytes).", func() float64 { return float64(s.bytes) }),
		gauge("objects", "Objects and indexes that wait to be sent to the bucket.", func() float64 {
			n := 0
			for _, q := range s.queues {
				n += len(q.items)
			}
			return float64(n)
		}),
		gauge("oldest_seconds", "How long what waits longest has been waiting to be sent to the bucket.", func() float64 {
			oldest := time.Duration(0)
			for _, q := range s.queues {
				if len(q.items) > 0 {
					oldest = max(oldest, time.Since(q.items[0].since))
				}
			}
			return oldest.Seconds()
		}),
		gauge("away_seconds", "How long the bucket has not taken what is sent; 0 while it does.", func() float64 {
			if s.trouble.since.IsZero() {
				return 0
			}
			return time.Since(s.trouble.since).Seconds()
		}))
	return m
}
