package chat

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	connections prometheus.Gauge
	rejected    *prometheus.CounterVec
	messages    prometheus.Counter
	refused     *prometheus.CounterVec
	gone        *prometheus.CounterVec
	pruned      prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		connections: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "onair_chat_connections", Help: "Chat connections now."}),
		rejected: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "onair_chat_rejected_total", Help: "Chat connections refused, by reason: connections, address, playback_id."}, []string{"reason"}),
		messages: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "onair_chat_messages_total", Help: "Messages that were sent to a room."}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "onair_chat_refused_total", Help: "Messages that were not sent, by the kind of fault."}, []string{"code"}),
		gone: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "onair_chat_disconnected_total", Help: "Chat connections that ended, by reason: left, slow, closed, other."}, []string{"reason"}),
		pruned: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "onair_chat_pruned_total", Help: "Events removed because they are older than what is kept."}),
	}
	if reg != nil {
		reg.MustRegister(m.connections, m.rejected, m.messages, m.refused, m.gone, m.pruned)
	}
	return m
}
