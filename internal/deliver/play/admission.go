package play

import (
	"time"

	"onair/internal/fault"
	"onair/internal/media"
)

// admit chooses the codecs that the viewer gets as long as it stays, by what its stream
// sends now, and what every browser takes if it is not live.
func (v *viewing) admit() error {
	const op = "play"
	if v.q.Accepts(media.Opus) {
		v.audioCodec = media.Opus
	}
	for _, c := range []media.Codec{media.H264, media.VP8, media.VP9, media.AV1, media.HEVC} {
		if v.q.Accepts(c) {
			v.videoCodec = c
			break
		}
	}
	if v.videoCodec == media.UnknownCodec && v.audioCodec == media.UnknownCodec {
		return fault.New(fault.Unsupported, op, v.q.PlaybackID(), "the player takes none of the codecs that are sent over WebRTC",
			"Offer H.264 and Opus, or watch it over HLS.")
	}
	stream, live := v.r.hub.Stream(v.id)
	if !live {
		return nil
	}
	now := time.Now()
	sc := v.room.scene(stream, now)
	early := now.Sub(sc.since) < unsettled
	if len(sc.video) > 0 && v.videoCodec != media.UnknownCodec {
		if err := v.admitPicture(sc); err != nil && !early {
			return err
		}
	}
	if len(sc.audio) > 0 && v.audioCodec != media.UnknownCodec && !early && len(v.sounds(sc)) == 0 {
		return fault.New(fault.Unsupported, op, v.q.PlaybackID(),
			"the stream's audio is "+sc.audio[0].track.Codec.String()+", which WebRTC does not carry, and nothing here converts it",
			"Watch it over HLS, or let the server find an ffmpeg with libopus.")
	}
	return nil
}

// admitPicture chooses the codec of the best picture that can be had: what the publisher
// sends before what must be made of it.
func (v *viewing) admitPicture(sc *scene) error {
	var why error
	for _, made := range []bool{false, true} {
		for _, l := range sc.video {
			if l.made != made || !v.takes(sc, l) {
				continue
			}
			if made {
				if err := v.r.ladder.Want(v.id, l.feed); err != nil {
					if why == nil {
						why = err // of the best one
					}
					continue
				}
			}
			v.videoCodec = l.track.Codec
			return nil
		}
	}
	if why != nil {
		return why
	}
	return v.noPicture(sc)
}

// noPicture says why the viewer cannot be sent the stream's picture.
func (v *viewing) noPicture(sc *scene) error {
	cause := "the stream's picture is " + sc.video[0].track.Codec.String()
	if sc.reorders {
		cause += " with B-frames"
	}
	return fault.New(fault.Unsupported, "play", v.q.PlaybackID(), cause+", which cannot be sent to this player over WebRTC, and nothing here converts it",
		"Watch it over HLS, or connect again: what a player takes is agreed on when it connects.")
}

// takes tells whether the viewer can show a layer.
func (v *viewing) takes(sc *scene, l layer) bool {
	return (l.made || !sc.reorders) && v.q.Supports(l.track)
}
