package record

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	segments, bytes, missed, dropped, finished, damaged prometheus.Counter
	folded, openSyncs, openSkipped, openErrors          prometheus.Counter
	earlySyncs, earlySkipped, earlyErrors               prometheus.Counter
	errors                                              *prometheus.CounterVec
	recording, lag, index, troubled                     prometheus.Gauge
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
		folded:   counter("folded_segments_total", "Segments that were in progress when the server was killed and of which what there was became part of their asset."),

		openSyncs:   counter("open_syncs_total", "Writes to the journals of parts, each synced."),
		openSkipped: counter("open_skipped_total", "Writes to a journal of parts that were left out because more was waiting to be stored than it may hold (64 MiB)."),
		openErrors:  counter("open_errors_total", "Writes to a journal of parts that failed."),

		earlySyncs:   counter("early_syncs_total", "Writes to the journals of packets of broadcasts that have not begun, each synced."),
		earlySkipped: counter("early_skipped_total", "Writes to an early journal that were left out because it is as long as it may be (80 MiB)."),
		earlyErrors:  counter("early_errors_total", "Writes to an early journal that failed."),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "onair_record_errors_total", Help: "Recordings that stopped before their broadcast did, by the kind of the fault.",
		}, []string{"code"}),
		troubled:  gauge("assets_troubled", "Assets being recorded whose storage fails; it is tried again."),
		recording: gauge("assets_recording", "Assets being recorded."),
		lag:       gauge("lag_seconds", "Time from the completion of the segment that was stored last to when it was durable, the largest of the last pass."),
		index:     gauge("index_bytes", "About how much memory the indexes of assets take that are not being recorded (record-max-index-bytes)."),
	}
	if reg != nil {
		reg.MustRegister(m.folded, m.openSyncs, m.openSkipped, m.openErrors, m.earlySyncs, m.earlySkipped, m.earlyErrors, m.segments, m.bytes, m.missed, m.dropped, m.finished, m.damaged, m.errors, m.recording, m.troubled, m.lag, m.index)
	}
	return m
}
