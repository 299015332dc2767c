package hub

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// metrics are the hub's counters. Its labels have few values: reasons, states, and the
// names of readers, which are kinds of reader and never one viewer's.
type metrics struct {
	droppedBytes, droppedTime, droppedOversize prometheus.Counter

	undecodable, takeovers, refused, noFeed prometheus.Counter
	lag, lost                               *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer, h *Hub) *metrics {
	f := promauto.With(reg)
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "onair_hub_feed_bytes", Help: "Media kept in the feeds of all streams, in bytes.",
	}, func() float64 { return float64(h.bytes.Load()) })
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "onair_hub_streams", Help: "Streams that are live or wait for their publisher.",
	}, func() float64 { return float64(h.living.Load()) })
	dropped := f.NewCounterVec(prometheus.CounterOpts{
		Name: "onair_hub_groups_dropped_total",
		Help: "Groups that left a feed: by age (time), because of its bound in bytes (bytes), or because one alone was larger (oversize).",
	}, []string{"reason"})
	return &metrics{
		droppedBytes:    dropped.WithLabelValues("bytes"),
		droppedTime:     dropped.WithLabelValues("time"),
		droppedOversize: dropped.WithLabelValues("oversize"),
		undecodable: f.NewCounter(prometheus.CounterOpts{
			Name: "onair_hub_undecodable_packets_total", Help: "Video packets left out because no key packet came before them.",
		}),
		takeovers: f.NewCounter(prometheus.CounterOpts{
			Name: "onair_hub_takeovers_total", Help: "Publishers that were replaced by another with the same key.",
		}),
		refused: f.NewCounter(prometheus.CounterOpts{
			Name: "onair_hub_streams_refused_total", Help: "Publishers refused because the hub carries as many streams as it may.",
		}),
		noFeed: f.NewCounter(prometheus.CounterOpts{
			Name: "onair_hub_renditions_refused_total", Help: "Packets refused because their stream has as many renditions as it may.",
		}),
		lag: f.NewCounterVec(prometheus.CounterOpts{
			Name: "onair_hub_reader_lag_total", Help: "Times a reader was too far behind and went on at the newest key.",
		}, []string{"reader"}),
		lost: f.NewCounterVec(prometheus.CounterOpts{
			Name: "onair_hub_reader_lost_packets_total", Help: "Packets that readers skipped because they were too far behind.",
		}, []string{"reader"}),
	}
}
