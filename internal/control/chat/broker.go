package chat

import (
	"sync/atomic"
	"time"

	"github.com/centrifugal/centrifuge"
)

// broker is centrifuge's view of the rooms: their newest events, in memory, with the numbers
// that the database gave them. What is kept is written by Server.append only.
type broker struct {
	server *Server
	events atomic.Pointer[centrifuge.BrokerEventHandler] // nil until the server runs: nobody is there to be told
}

var _ centrifuge.Broker = (*broker)(nil)

// RegisterBrokerEventHandler implements centrifuge.Broker.
func (b *broker) RegisterBrokerEventHandler(h centrifuge.BrokerEventHandler) error {
	b.events.Store(&h)
	return nil
}

// Subscribe implements centrifuge.Broker: all rooms are here.
func (b *broker) Subscribe(string) error { return nil }

// Unsubscribe implements centrifuge.Broker.
func (b *broker) Unsubscribe(string) error { return nil }

// Publish tells what is not kept.
func (b *broker) Publish(ch string, data []byte, _ centrifuge.PublishOptions) (centrifuge.StreamPosition, bool, error) {
	return centrifuge.StreamPosition{}, false, b.handle(ch, &centrifuge.Publication{Data: data}, centrifuge.StreamPosition{})
}

// tell tells an event that is kept.
func (b *broker) tell(ch string, seq int64, epoch string, data []byte) error {
	at := centrifuge.StreamPosition{Offset: uint64(seq), Epoch: epoch} //nolint:gosec // counts from 1
	return b.handle(ch, &centrifuge.Publication{Offset: at.Offset, Data: data}, at)
}

func (b *broker) handle(ch string, pub *centrifuge.Publication, at centrifuge.StreamPosition) error {
	h := b.events.Load()
	if h == nil {
		return nil
	}
	pub.Time = time.Now().UnixMilli()
	return (*h).HandlePublication(ch, pub, at, false, nil)
}

// PublishJoin implements centrifuge.Broker: nobody is told.
func (b *broker) PublishJoin(string, *centrifuge.ClientInfo) error { return nil }

// PublishLeave implements centrifuge.Broker.
func (b *broker) PublishLeave(string, *centrifuge.ClientInfo) error { return nil }

// History returns what is in memory of a room, which whoever was away gets.
func (b *broker) History(ch string, opts centrifuge.HistoryOptions) ([]*centrifuge.Publication, centrifuge.StreamPosition, error) {
	r, ok := b.server.known(ch)
	if !ok {
		return nil, centrifuge.StreamPosition{}, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	at := centrifuge.StreamPosition{Offset: uint64(r.top), Epoch: r.epoch} //nolint:gosec // counts from 1
	f := opts.Filter
	if f.Limit == 0 || f.Since != nil && f.Since.Offset >= at.Offset {
		return nil, at, nil
	}
	list := r.ring
	if f.Since != nil {
		for len(list) > 0 && uint64(list[0].seq) <= f.Since.Offset { //nolint:gosec // as above
			list = list[1:]
		}
	}
	if f.Limit > 0 && len(list) > f.Limit {
		list = list[:f.Limit]
	}
	out := make([]*centrifuge.Publication, len(list))
	for i, e := range list {
		out[i] = &centrifuge.Publication{Offset: uint64(e.seq), Data: e.body} //nolint:gosec // as above
	}
	return out, at, nil
}

// RemoveHistory implements centrifuge.Broker: history goes with the database's.
func (b *broker) RemoveHistory(string) error { return nil }
