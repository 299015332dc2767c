package clip

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	made    *prometheus.CounterVec
	encoded prometheus.Counter
	waiting prometheus.Gauge
}

// newMetrics makes the package's metrics and registers them with reg, if there is one.
func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		made: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "onair_clip_made_total", Help: "Clips, by what became of them: made, failed, stopped (with the server), or refused (clip-max-waiting).",
		}, []string{"result"}),
		encoded: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "onair_clip_encoded_seconds_total", Help: "Media time of the edges of clips that was encoded again.",
		}),
		waiting: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "onair_clip_waiting", Help: "Clips that wait to be made.",
		}),
	}
	if reg != nil {
		reg.MustRegister(m.made, m.encoded, m.waiting)
	}
	return m
}
