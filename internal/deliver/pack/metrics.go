package pack

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	streams, bytes                                             prometheus.Gauge
	parts, segments, borders, longSamples, repaired, shortened prometheus.Counter
	dropped, skipped                                           *prometheus.CounterVec
	diskBytes                                                  prometheus.Gauge
}

// newMetrics makes the package's metrics and registers them with reg, if there is one.
func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "onair_pack_" + name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "onair_pack_" + name, Help: help})
	}
	m := &metrics{
		streams:     gauge("streams", "Streams being packaged, ended ones that can still be watched included."),
		bytes:       gauge("window_bytes", "Bytes of complete segments in memory."),
		parts:       counter("parts_total", "Parts made."),
		segments:    counter("segments_total", "Segments made, gaps included."),
		borders:     counter("discontinuities_total", "Discontinuities: changes of parameters, jumps and losses."),
		longSamples: counter("long_samples_total", "Frames that last longer than a part may, so that their part does too."),
		repaired:    counter("repaired_timestamps_total", "Frames whose decoding time did not advance and was moved."),
		shortened:   counter("window_shortened_total", "Segments removed early because of the bound on bytes (pack-max-window-bytes)."),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "onair_pack_dropped_total", Help: "Frames left out, by reason.",
		}, []string{"reason"}),
		diskBytes: gauge("disk_bytes", "Bytes of the last windows on disk."),
		skipped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "onair_pack_disk_skipped_total", Help: "States that were shown without being kept on disk, by reason: queue (the disk is too slow), full (pack-max-disk-bytes), error.",
		}, []string{"reason"}),
	}
	if reg != nil {
		reg.MustRegister(m.streams, m.bytes, m.parts, m.segments, m.borders, m.longSamples, m.repaired, m.shortened, m.dropped, m.diskBytes, m.skipped)
	}
	return m
}
