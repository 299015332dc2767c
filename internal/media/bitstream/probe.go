package bitstream

import (
	"fmt"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/eac3"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg1audio"

	"onair/internal/media"
)

// Probe is Describe for tracks whose container announces less than is needed: it takes
// from a packet what only packets tell. That is the Config of AC-3 and E-AC-3, the
// Config of VP9 if t has none and the size of VP8 and VP9 (from a key frame), and rate
// and channels of MP3. For other codecs it is Describe.
//
// Its errors are those of Describe; fault.Invalid also if the packet does not tell.
func Probe(t *media.Track, packet []byte) (*media.Track, error) {
	d := *t
	known := true
	switch t.Codec {
	case media.VP8, media.VP9:
		var w, h int
		if w, h, known = vpxSize(t.Codec, packet); known {
			if err := checkSize(uint64(w), uint64(h)); err != nil {
				return nil, invalid(t.Codec, err)
			}
			d.Width, d.Height = w, h
			if t.Codec == media.VP9 && len(d.Config) == 0 {
				d.Config = VPCC(packet)
			}
		}
	case media.AC3:
		d.Config = dac3(packet)
		known = d.Config != nil
	case media.EAC3:
		d.Config = dec3(packet)
		known = d.Config != nil
	case media.MP3:
		var h mpeg1audio.FrameHeader
		if known = h.Unmarshal(packet) == nil && h.Layer == 3; known {
			d.SampleRate, d.Channels = h.SampleRate, 2
			if h.ChannelMode == mpeg1audio.ChannelModeMono {
				d.Channels = 1
			}
		}
	}
	if !known {
		return nil, invalid(t.Codec, fmt.Errorf("the packet does not tell the parameters"))
	}
	described, err := Describe(&d)
	if err == nil && t.Codec == media.EAC3 {
		var s eac3.SyncInfo
		if s.Unmarshal(packet) == nil {
			described.SampleRate = s.SampleRate()
		}
	}
	return described, err
}
