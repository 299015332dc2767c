package doctor

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	streams   prometheus.Gauge
	unwatched prometheus.Counter
	raised    *prometheus.CounterVec // by code, of which the catalogue has few
	looks     *prometheus.CounterVec // by result
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	return &metrics{
		streams: f.NewGauge(prometheus.GaugeOpts{
			Name: "onair_doctor_streams", Help: "Streams whose health is known.",
		}),
		unwatched: f.NewCounter(prometheus.CounterOpts{
			Name: "onair_doctor_unwatched_total", Help: "Publishers and refusals that were not watched, because there were too many streams.",
		}),
		raised: f.NewCounterVec(prometheus.CounterOpts{
			Name: "onair_doctor_findings_total", Help: "Findings that were raised, by code.",
		}, []string{"code"}),
		looks: f.NewCounterVec(prometheus.CounterOpts{
			Name: "onair_doctor_samples_total", Help: "Samples of sound and pictures, by result: ok, failed, timeout, or busy (the samplers were behind).",
		}, []string{"result"}),
	}
}
