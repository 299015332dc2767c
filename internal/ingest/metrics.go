package ingest

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	publishers                   *prometheus.GaugeVec   // by protocol
	refused                      *prometheus.CounterVec // by fault kind
	learned                      *prometheus.CounterVec // by what ended the learning
	starved, filler, heldTooMuch prometheus.Counter
	repaired                     [repairKinds]prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	m := &metrics{
		publishers: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "onair_ingest_publishers", Help: "Publishers that were admitted and are connected.",
		}, []string{"protocol"}),
		refused: f.NewCounterVec(prometheus.CounterOpts{
			Name: "onair_ingest_refused_total", Help: "Publishers that were refused, or ended before any media could be watched, by kind of fault.",
		}, []string{"code"}),
		learned: f.NewCounterVec(prometheus.CounterOpts{
			Name: "onair_ingest_learned_total",
			Help: "Publishers whose tracks were learned, by what ended the wait: complete, settled (one kind of track only), missing (an announced track never came), bytes (the bound was reached), end.",
		}, []string{"reason"}),
	}
	m.starved = f.NewCounter(prometheus.CounterOpts{
		Name: "onair_ingest_starved_total", Help: "Times that a connected publisher sent nothing and filler or another publisher took its place.",
	})
	m.filler = f.NewCounter(prometheus.CounterOpts{
		Name: "onair_ingest_filler_pictures_total", Help: "Pictures that were repeated because none came.",
	})
	m.heldTooMuch = f.NewCounter(prometheus.CounterOpts{
		Name: "onair_ingest_held_dropped_total", Help: "Groups of pictures of publishers off the air that were too large to hold.",
	})
	repaired := f.NewCounterVec(prometheus.CounterOpts{
		Name: "onair_ingest_timestamps_repaired_total", Help: "Packets whose time stamps were repaired, by kind of repair.",
	}, []string{"kind"})
	for k := range m.repaired {
		m.repaired[k] = repaired.WithLabelValues(repair(k).String())
	}
	return m
}
