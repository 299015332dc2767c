package record

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	segments, bytes, missed, dropped, finished, damaged prometheus.Counter
	errors                                              *prometheus.CounterVec
	recording, lag, index                               prometheus.Gauge
}

// newMetrics makes the package's metrics and registers them with reg, if there is one.
func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "onair_record_" + name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "onair_record_" + name, Help: help})
	}
	m := &metrics{
		segments: counter("segments_total", "Segments stored and in the index."),
		bytes:    counter("bytes_total", "Bytes of segments and initialization sections stored."),
		missed:   counter("missed_segments_total", "Segments that had left the live window before they could be stored: gaps of an asset."),
		dropped:  counter("dropped_objects_total", "Objects that a crash left without a place in an index and that were removed."),
		finished: counter("finished_segments_total", "Segments that a crash left without an entry in the index and that were given one."),
		damaged:  counter("damaged_index_bytes_total", "Bytes in indexes that could not be read, torn ends left out."),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "onair_record_errors_total", Help: "Recordings that stopped before their broadcast did, by the kind of the fault.",
		}, []string{"code"}),
		recording: gauge("assets_recording", "Assets being recorded."),
		lag:       gauge("lag_seconds", "Time from the completion of the segment that was stored last to when it was durable, the largest of the last pass."),
		index:     gauge("index_bytes", "About how much memory the indexes of assets take that are not being recorded (record-max-index-bytes)."),
	}
	if reg != nil {
		reg.MustRegister(m.segments, m.bytes, m.missed, m.dropped, m.finished, m.damaged, m.errors, m.recording, m.lag, m.index)
	}
	return m
}
