package play

import (
	"context"
	"errors"
	"io"
	"time"

	"onair/internal/fault"
	"onair/internal/hub"
	"onair/internal/media"
)

const (
	// blockFor is how long a layer that cannot be had is not asked for again by a viewer.
	blockFor = 15 * time.Second
	// firstPicture is how long a rendition that is being made may take to its first key
	// frame, beyond which it is as good as not there.
	firstPicture = 15 * time.Second
	// maxSwitch is how long the picture before is kept while the next one's key frame is
	// awaited.
	maxSwitch = 12 * time.Second
	// unsettled is how long after a broadcast began, or changed, it may have nothing that a
	// viewer can be sent: what can be made of it is known a little later.
	unsettled = 5 * time.Second
	// audioOnly is the wish for no picture.
	audioOnly = "audio"
	// soundOf marks the sound of a feed among what is blocked.
	soundOf = " sound"
)

// block is a layer that cannot be had for a while, and why.
type block struct {
	until time.Time
	why   error
}

// viewing is one viewer. Its own goroutine has it, but for what its room reads.
type viewing struct {
	r           *Realtime
	q           RealtimeRequest
	id          string
	interactive bool
	room        *room

	videoCodec, audioCodec media.Codec

	adapt   adapt
	blocked map[string]block
	// picture and sound are what is watched. shown is the picture that is sent until the
	// first key frame of picture, whose number is awaited; nil if that has come.
	picture, sound, shown *pump
	awaited               int64
	since                 time.Time // when picture was chosen
	made                  bool      // picture is made by the server
	// bare and mute are since when there is no picture, or no sound, that could be sent.
	bare, mute time.Time
	watched    [2]*pump // what the transport was told
	spare      []*pump  // what is given back when it was told
}

// later gives a pump back after the transport was told what to send instead.
func (v *viewing) later(p **pump) {
	if *p != nil {
		v.spare = append(v.spare, *p)
		*p = nil
	}
}

// pictures returns the layers that the viewer can be sent now, best first.
func (v *viewing) pictures(sc *scene, now time.Time) (list []layer) {
	own := false // the publisher's own picture will do
	for _, l := range sc.video {
		own = own || l.feed == hub.SourceFeed && l.track.Codec == v.videoCodec && v.takes(sc, l)
	}
	for _, l := range sc.video {
		if l.track.Codec != v.videoCodec || !v.takes(sc, l) || own && l.feed == media.RenditionRealtime || v.isBlocked(l.feed, now) {
			continue
		}
		list = append(list, l)
	}
	return list
}

// wishedOf leaves out of list what is better than the layer that the viewer wants at most,
// and keeps the least there is if everything is.
func wishedOf(sc *scene, list []layer, wish string) []layer {
	for _, w := range sc.video {
		if w.name != wish {
			continue
		}
		for i, l := range list {
			if weight(l) <= weight(w) {
				return list[i:]
			}
		}
		return list[max(0, len(list)-1):]
	}
	return list
}

// sounds returns what the viewer can be sent of the sound, what needs no encoder first.
func (v *viewing) sounds(sc *scene) (list []layer) {
	for _, l := range sc.audio {
		if l.track.Codec == v.audioCodec && v.q.Supports(l.track) {
			list = append(list, l)
		}
	}
	return list
}

func (v *viewing) isBlocked(feed string, now time.Time) bool {
	b, ok := v.blocked[feed]
	return ok && !now.After(b.until)
}

// run serves the viewer until it leaves or may not stay.
func (v *viewing) run(ctx context.Context) error {
	for {
		stream, err := v.await(ctx)
		if err != nil {
			return v.ended(err)
		}
		if err := v.follow(ctx, stream); err != nil {
			return v.ended(err)
		}
		v.release()
	}
}

// errLeft is the end of a viewer that left.
var errLeft = errors.New("the viewer left")

// ended says why the viewer is served no longer.
func (v *viewing) ended(err error) error {
	if !errors.Is(err, errLeft) {
		return err
	}
	if err = v.q.Err(); errors.Is(err, io.EOF) {
		err = nil
	}
	return err
}

// await waits for the stream to be on the air.
func (v *viewing) await(ctx context.Context) (*hub.Stream, error) {
	if s, live := v.r.hub.Stream(v.id); live {
		return s, nil
	}
	gauge := v.r.viewers.WithLabelValues("waiting")
	gauge.Inc()
	defer gauge.Dec()
	ticker := time.NewTicker(waitTick)
	defer ticker.Stop()
	begun := time.Now()
	admitted := begun
	for {
		select {
		case <-ticker.C:
		case <-v.q.Done():
			return nil, errLeft
		case <-ctx.Done():
			return nil, stopping()
		}
		if s, live := v.r.hub.Stream(v.id); live {
			return s, nil
		}
		now := time.Now()
		if now.Sub(begun) >= v.r.cfg.Wait {
			return nil, fault.New(fault.Timeout, "play", v.q.PlaybackID(), "the stream did not begin within "+v.r.cfg.Wait.String(), "Connect again when it is live.")
		}
		if now.Sub(admitted) >= readmit {
			// The stream may have been deleted in the meantime. Asking also keeps a source
			// going that is fetched on demand.
			if _, err := v.r.gate.AdmitPlay(ctx, v.q.PlaybackID()); err != nil && final(err) {
				return nil, err
			}
			admitted = now
		}
	}
}

// final tells whether somebody who waits has nothing to wait for any more.
func final(err error) bool {
	switch fault.KindOf(err) {
	case fault.NotFound, fault.Forbidden, fault.Unauthorized, fault.Disabled:
		return true
	default:
		return false
	}
}

func stopping() error {
	return fault.New(fault.Unavailable, "play", "", "the server is stopping", "Connect again in a moment.")
}

// follow sends a stream until it ends; nil then.
func (v *viewing) follow(ctx context.Context, stream *hub.Stream) error {
	gauge := v.r.viewers.WithLabelValues("watching")
	gauge.Inc()
	defer gauge.Dec()
	ticker := time.NewTicker(watchTick)
	defer ticker.Stop()
	v.adapt = adapt{}
	v.bare, v.mute = time.Time{}, time.Time{}
	clear(v.blocked)
	for {
		if err := v.step(ctx, stream, time.Now()); err != nil {
			return err
		}
		select {
		case <-ticker.C:
		case <-stream.Done():
			return nil
		case <-v.q.Done():
			return errLeft
		case <-ctx.Done():
			return stopping()
		}
	}
}

// step thinks over what the viewer is sent.
func (v *viewing) step(ctx context.Context, stream *hub.Stream, now time.Time) error {
	if l := v.r.limits; l != nil && v.among(l.Excess(ctx, v.id)) {
		return fault.New(fault.TooMany, "play", v.q.PlaybackID(), "more people watch than are served in real time", "Watch it over HLS, which carries any number.")
	}
	sc := v.room.scene(stream, now)
	v.settle(now)
	v.chooseSound(sc, now)
	err := v.choosePicture(sc, v.q.Wish(), now)
	v.tell()
	return err
}

// tell lets the transport know what to send.
func (v *viewing) tell() {
	if v.watched != [2]*pump{v.picture, v.sound} {
		v.watched = [2]*pump{v.picture, v.sound}
		v.q.Watch(fanOf(v.picture), fanOf(v.sound))
	}
	for _, p := range v.spare {
		v.r.release(v.room, p)
	}
	v.spare = v.spare[:0]
}

func fanOf(p *pump) Fan {
	if p == nil {
		return nil
	}
	return p.fan
}

// settle gives back the picture before when the next one is sent, and gives up on a
// picture that does not come.
func (v *viewing) settle(now time.Time) {
	p := v.picture
	if p == nil {
		return
	}
	if v.shown != nil && (p.live.Load() > v.awaited || now.Sub(v.since) >= maxSwitch && p.keys.Load() > 0) {
		v.later(&v.shown)
		v.adapt.changed, v.adapt.calmFrom = now, now
	}
	switch {
	case p.slow.Load():
		v.block(p.key.feed, now, fault.New(fault.Unavailable, "play", v.q.PlaybackID(), "the server cannot keep up with this rendition", "Watch it over HLS."))
	case v.made && p.keys.Load() == 0 && now.Sub(v.since) >= firstPicture:
		v.block(p.key.feed, now, fault.New(fault.Timeout, "play", v.q.PlaybackID(), "no picture came within "+firstPicture.String(), "Watch it over HLS."))
	}
}

func (v *viewing) block(feed string, now time.Time, why error) {
	v.blocked[feed] = block{now.Add(blockFor), why}
}

// choosePicture makes v.picture what is to be sent.
func (v *viewing) choosePicture(sc *scene, wish string, now time.Time) error {
	switch {
	case v.videoCodec == media.UnknownCodec, wish == audioOnly && v.sound != nil:
		v.watch(nil, now)
		return nil
	case len(sc.video) == 0:
		// It is announced anew when another encoder takes over.
		if v.picture != nil && lasts(&v.bare, now) {
			v.watch(nil, now)
		}
		return nil
	}
	for {
		list := wishedOf(sc, v.pictures(sc, now), wish)
		if len(list) == 0 {
			return v.withoutPicture(sc, now)
		}
		l, why := v.pick(list, wish, now)
		if l.made {
			if err := v.r.ladder.Want(v.id, l.feed); err != nil {
				v.block(l.feed, now, err)
				continue
			}
		}
		v.bare = time.Time{}
		if why != keeps {
			v.r.switches.WithLabelValues(string(why)).Inc()
		}
		v.made = l.made
		v.watch(&pumpKey{sc.stream, l.feed, v.videoCodec}, now)
		return nil
	}
}

// pick returns the layer to send. While the viewer waits for one, no other is chosen: what
// its transport tells is still of the one before.
func (v *viewing) pick(list []layer, wish string, now time.Time) (layer, reason) {
	if v.shown != nil && wish == v.adapt.wish {
		for _, l := range list {
			if l.feed == v.picture.key.feed {
				return l, keeps
			}
		}
	}
	i, why := v.adapt.choose(now, list, v.q.Estimate(), wish)
	return list[i], why
}

// withoutPicture is what happens when nothing that the stream has can be sent: the viewer
// stays for a moment, since an encoder may change what it sends.
func (v *viewing) withoutPicture(sc *scene, now time.Time) error {
	if !lasts(&v.bare, now) {
		return nil
	}
	var last block
	for _, l := range sc.video {
		if b, ok := v.blocked[l.feed]; ok && b.until.After(last.until) {
			last = b
		}
	}
	if last.why != nil {
		return last.why
	}
	return v.noPicture(sc)
}

// lasts tells whether something that is so now has been so for too long; from is since when.
func lasts(from *time.Time, now time.Time) bool {
	if from.IsZero() {
		*from = now
	}
	return now.Sub(*from) >= unsettled
}

// watch makes the pump of a track the picture; nil is none.
func (v *viewing) watch(key *pumpKey, now time.Time) {
	switch {
	case key == nil:
		v.later(&v.picture)
		v.later(&v.shown)
		v.adapt.current = ""
		return
	case v.picture != nil && v.picture.key == *key:
		return
	case v.shown != nil && v.shown.key == *key:
		// Back to what is still being sent.
		v.later(&v.picture)
		v.picture, v.shown = v.shown, nil
		v.since = now
		return
	}
	next := v.r.acquire(v.room, *key)
	if v.picture != nil {
		if v.shown == nil {
			v.shown, v.picture = v.picture, nil
		}
		v.later(&v.picture)
		// The next one begins at its next key frame: the sooner that comes the better.
		v.room.requestKey()
	}
	v.picture, v.since, v.awaited = next, now, next.live.Load()
}

// chooseSound makes v.sound what is to be sent. A viewer goes on without sound that cannot
// be had.
func (v *viewing) chooseSound(sc *scene, now time.Time) {
	for _, l := range v.sounds(sc) {
		if v.isBlocked(l.feed+soundOf, now) {
			continue
		}
		if l.made {
			if err := v.r.ladder.Want(v.id, l.feed); err != nil {
				if _, told := v.blocked[l.feed+soundOf]; !told {
					v.r.log.Info("a viewer in real time gets no sound", "stream", v.id, "peer", addressOf(v.q), "error", err)
				}
				v.block(l.feed+soundOf, now, err)
				continue
			}
		}
		v.mute = time.Time{}
		if key := (pumpKey{sc.stream, l.feed, v.audioCodec}); v.sound == nil || v.sound.key != key {
			v.later(&v.sound)
			v.sound = v.r.acquire(v.room, key)
		}
		return
	}
	if v.sound != nil && lasts(&v.mute, now) {
		v.later(&v.sound)
	}
}

func addressOf(q RealtimeRequest) string {
	if a := q.Peer(); a != nil {
		return a.String()
	}
	return ""
}

// release gives everything back, and tells the transport first.
func (v *viewing) release() {
	v.later(&v.picture)
	v.later(&v.shown)
	v.later(&v.sound)
	v.tell()
}
