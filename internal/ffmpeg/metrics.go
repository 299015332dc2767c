package ffmpeg

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	running  prometheus.Gauge
	starts   prometheus.Counter
	ends     *prometheus.CounterVec
	cpu      prometheus.Counter
	messages *prometheus.CounterVec
	pictures *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		running: prometheus.NewGauge(prometheus.GaugeOpts{Name: "onair_ffmpeg_running", Help: "ffmpeg processes that run now."}),
		starts:  prometheus.NewCounter(prometheus.CounterOpts{Name: "onair_ffmpeg_starts_total", Help: "ffmpeg processes that were started."}),
		ends: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "onair_ffmpeg_ends_total",
			Help: "How ffmpeg processes ended: done, stopped, source, died, stalled, encoder, garbage, output, refused, not_started."}, []string{"result"}),
		cpu: prometheus.NewCounter(prometheus.CounterOpts{Name: "onair_ffmpeg_cpu_seconds_total", Help: "Processor time of ffmpeg processes that have ended."}),
		messages: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "onair_ffmpeg_messages_total",
			Help: "Lines that ffmpeg wrote to its standard error: warning, error, fatal, panic, other."}, []string{"level"}),
		pictures: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "onair_ffmpeg_pictures_total",
			Help: "Still pictures that were asked for: made, failed, timeout."}, []string{"result"}),
	}
	if reg != nil {
		reg.MustRegister(m.running, m.starts, m.ends, m.cpu, m.messages, m.pictures)
	}
	return m
}
