package transcode

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	renditions              *prometheus.GaugeVec
	starts, breaks          *prometheus.CounterVec
	refused, shed, failures prometheus.Counter
	fallbacks, dropped      prometheus.Counter
	first                   prometheus.Histogram
	cpu                     prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, t *Transcoder) *metrics {
	f := promauto.With(reg)
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "onair_transcode_cores_budget", Help: "Processor cores that encoding may take.",
	}, func() float64 { return t.budget.total })
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "onair_transcode_cores_used", Help: "Processor cores that encoding is reckoned to take.",
	}, func() float64 { _, used := t.budget.state(); return used })
	counter := func(name, help string) prometheus.Counter {
		return f.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	return &metrics{
		renditions: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "onair_transcode_renditions", Help: "Renditions that are not idle, by state.",
		}, []string{"state"}),
		starts: f.NewCounterVec(prometheus.CounterOpts{
			Name: "onair_transcode_starts_total", Help: "Encoders that were started, by what for: video or audio.",
		}, []string{"kind"}),
		breaks: f.NewCounterVec(prometheus.CounterOpts{
			Name: "onair_transcode_breaks_total", Help: "Encoders that broke off: died, stalled, encoder, garbage, source or other.",
		}, []string{"cause"}),
		refused:   counter("onair_transcode_refused_total", "Requests for a rendition that was refused because the budget was full."),
		shed:      counter("onair_transcode_shed_total", "Renditions that were given up because the machine was too slow."),
		failures:  counter("onair_transcode_failures_total", "Renditions that were given up for a while because their encoder kept breaking off."),
		fallbacks: counter("onair_transcode_fallbacks_total", "Times another encoder took over from one that did not work."),
		dropped:   counter("onair_transcode_dropped_packets_total", "Encoded packets that were left out because they were not after those before."),
		first: f.NewHistogram(prometheus.HistogramOpts{
			Name: "onair_transcode_first_packet_seconds", Help: "Time from the first request for a rendition to its first packet.",
			Buckets: []float64{0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 20},
		}),
		cpu: counter("onair_transcode_cpu_seconds_total", "Processor time of encoders that have ended."),
	}
}

// changed counts a rendition that went from one state to another.
func (m *metrics) changed(was, next State) {
	if was != Idle {
		m.renditions.WithLabelValues(string(was)).Dec()
	}
	if next != Idle {
		m.renditions.WithLabelValues(string(next)).Inc()
	}
}
