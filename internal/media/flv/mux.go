package flv

import (
	"fmt"
	"math"
	"strconv"

	"onair/internal/fault"
	"onair/internal/media"
)

// Message is one audio or video message: the body is Head and then Data, which are kept
// apart so that the payload is not copied.
type Message struct {
	Kind media.Kind
	// Timestamp is in milliseconds, modulo 2^32.
	Timestamp uint32
	Head      []byte
	// Data is shared with the packet that it came from.
	Data []byte
}

// Body returns the message's body in one piece.
func (m Message) Body() []byte { return append(append([]byte(nil), m.Head...), m.Data...) }

// Muxer turns packets into message bodies: H.264, AAC and MP3 of the first track of
// their kind as the legacy tags that every player knows, everything else as Enhanced
// RTMP, further tracks as multitrack messages. Tracks are numbered in the order in
// which Add or Packet met them. It is not safe for concurrent use.
type Muxer struct {
	// Origin is the time, in milliseconds, that is stamped 0. RTMP knows no times
	// before that: an earlier packet is stamped 0 too, and keeps when it is shown.
	Origin int64
	// Nanoseconds is set, before the first track is added, for a receiver that announced
	// that it knows stamps with nanoseconds and the FourCCs of the legacy codecs. Tracks
	// whose timescale is finer than milliseconds are then sent as Enhanced RTMP with
	// exact stamps.
	Nanoseconds bool

	tracks []*muxTrack
	video  int
	audio  int
}

type muxTrack struct {
	index int
	// fine is set for a track whose stamps have nanoseconds.
	fine bool
	// newest is the version whose sequence header was written; nil if none was.
	newest *media.Track
	last   *media.Track
}

// Add makes room for a track, so that its number does not depend on whose packet comes
// first, and tells it in Metadata. A newer version of a track that is known replaces it.
func (m *Muxer) Add(t *media.Track) error {
	if FourCC(t.Codec) == "" {
		return fault.New(fault.Unsupported, "send over RTMP", t.Codec.String(), "RTMP has no name for the codec",
			"Use H.264, HEVC, AV1 or VP9 and AAC, Opus, AC-3, MP3 or FLAC")
	}
	m.find(t).last = t
	return nil
}

func (m *Muxer) find(t *media.Track) *muxTrack {
	for _, mt := range m.tracks {
		if mt.last.ID == t.ID && mt.last.Kind() == t.Kind() {
			return mt
		}
	}
	mt := &muxTrack{last: t, fine: m.Nanoseconds && t.Timescale > 0 && Timescale%t.Timescale != 0}
	count := &m.video
	if t.Kind() == media.Audio {
		count = &m.audio
	}
	mt.index = *count
	*count++
	m.tracks = append(m.tracks, mt)
	return mt
}

// Metadata returns the values of an onMetaData message for the tracks known so far,
// the way OBS writes them.
func (m *Muxer) Metadata() Metadata {
	out := Metadata{"duration": 0.0, "fileSize": 0.0}
	videos, audios := Metadata{}, Metadata{}
	for _, mt := range m.tracks {
		t, at := mt.last, out
		if mt.index > 0 {
			at = Metadata{}
			into := videos
			if t.Kind() == media.Audio {
				into = audios
			}
			into[strconv.Itoa(mt.index)] = at
		}
		if t.Kind() == media.Video {
			at["videocodecid"] = float64(videoAVC)
			if t.Codec != media.H264 {
				at["videocodecid"] = float64(fourCC(FourCC(t.Codec)))
			}
			at["width"], at["height"] = float64(t.Width), float64(t.Height)
			if t.FrameRate > 0 {
				at["framerate"] = t.FrameRate
			}
			continue
		}
		at["audiocodecid"] = float64(soundAAC)
		switch t.Codec {
		case media.AAC:
		case media.MP3:
			at["audiocodecid"] = float64(soundMP3)
		default:
			at["audiocodecid"] = float64(fourCC(FourCC(t.Codec)))
		}
		at["audiosamplerate"], at["audiochannels"] = float64(t.SampleRate), float64(t.Channels)
		at["stereo"] = t.Channels == 2
	}
	if len(videos) > 0 {
		out["videoTrackIdInfoMap"] = videos
	}
	if len(audios) > 0 {
		out["audioTrackIdInfoMap"] = audios
	}
	return out
}

// Headers returns the sequence headers of the tracks that were added and whose newest
// version was not written yet. ts stamps them, in milliseconds.
func (m *Muxer) Headers(ts uint32) ([]Message, error) {
	var out []Message
	for _, mt := range m.tracks {
		if mt.newest == mt.last {
			continue
		}
		h, err := header(mt.last, mt, ts)
		if err != nil {
			return out, err
		}
		mt.newest = mt.last
		out = append(out, h...)
	}
	return out, nil
}

// Packet returns the message of a packet, behind the sequence header of its track if
// that is new.
func (m *Muxer) Packet(p *media.Packet) ([]Message, error) {
	t := p.Track
	mt := m.find(t)
	dts, nanoseconds := media.Rescale(p.DTS, int64(t.Timescale), Timescale)-m.Origin, int64(0)
	cts := media.Rescale(p.PTS, int64(t.Timescale), Timescale) - m.Origin
	if mt.fine && dts >= 0 {
		fine := max(0, media.Rescale(p.DTS, int64(t.Timescale), FineTimescale)-m.Origin*nanosecondsPerTick)
		dts, nanoseconds = fine/nanosecondsPerTick, fine%nanosecondsPerTick
		cts = dts + media.Rescale(p.PTS-p.DTS, int64(t.Timescale), Timescale)
	}
	dts = max(0, dts)
	cts -= dts
	if cts < math.MinInt32>>8 || cts > math.MaxInt32>>8 {
		return nil, fault.New(fault.Invalid, "send over RTMP", t.Codec.String(),
			fmt.Sprintf("a frame is shown %d ms after it is decoded", cts), "")
	}
	var out []Message
	if mt.newest != t {
		if err := m.Add(t); err != nil {
			return nil, err
		}
		h, err := header(t, mt, uint32(dts))
		if err != nil {
			return nil, err
		}
		mt.newest = t
		out = h
	}
	return append(out, frame(p, mt, stamp{uint32(dts), int32(cts), nanoseconds, mt.fine})), nil
}

// header makes the sequence header of a track; nothing for legacy MP3, which has none.
func header(t *media.Track, mt *muxTrack, ts uint32) ([]Message, error) {
	out := Message{Kind: t.Kind(), Timestamp: ts, Data: t.Config}
	legacy := mt.index == 0 && !mt.fine
	switch {
	case legacy && t.Codec == media.H264:
		out.Head = []byte{frameKey<<4 | videoAVC, legacyHeader, 0, 0, 0}
	case legacy && t.Codec == media.AAC:
		out.Head = []byte{soundAAC<<4 | 0x0f, legacyHeader}
	case legacy && t.Codec == media.MP3:
		return nil, nil
	default:
		out.Head = exHead(t, mt, frameKey, exSequenceStart, -1)
	}
	switch t.Codec {
	case media.Opus:
		head, err := opusHeadFrom(t.Config)
		if err != nil {
			return nil, err
		}
		out.Data = head
	case media.FLAC:
		block, err := flacConfig(t.Config)
		if err != nil {
			return nil, err
		}
		out.Data = block[4:] // STREAMINFO alone is what ffmpeg expects
	case media.AC3, media.EAC3, media.MP3:
		out.Data = nil
	}
	return []Message{out}, nil
}

// frame makes the message of a packet.
func frame(p *media.Packet, mt *muxTrack, at stamp) Message {
	t := p.Track
	out := Message{Kind: t.Kind(), Timestamp: at.ts, Data: p.Data}
	typ := byte(frameInter)
	if p.Key {
		typ = frameKey
	}
	nanoseconds := int64(-1)
	if at.precise {
		nanoseconds = at.nanoseconds
	}
	legacy := mt.index == 0 && !mt.fine
	offset := []byte{byte(at.cts >> 16), byte(at.cts >> 8), byte(at.cts)}
	switch {
	case legacy && t.Codec == media.H264:
		out.Head = append([]byte{typ<<4 | videoAVC, legacyFrames}, offset...)
	case legacy && t.Codec == media.AAC:
		out.Head = []byte{soundAAC<<4 | 0x0f, legacyFrames}
	case legacy && t.Codec == media.MP3:
		out.Head = []byte{soundMP3<<4 | mp3Flags(t)}
	case t.Codec != media.H264 && t.Codec != media.HEVC:
		out.Head = exHead(t, mt, typ, exCodedFrames, nanoseconds)
	case at.cts == 0:
		out.Head = exHead(t, mt, typ, exCodedFramesX, nanoseconds)
	default:
		out.Head = append(exHead(t, mt, typ, exCodedFrames, nanoseconds), offset...)
	}
	return out
}

// exHead writes the ex header of a message with one track. A ModEx prefix comes before
// it unless nanoseconds is negative.
func exHead(t *media.Track, mt *muxTrack, frameType, packetType byte, nanoseconds int64) []byte {
	first, multi := 0x80|frameType<<4, byte(exMultitrackVideo)
	if t.Kind() == media.Audio {
		first, multi = soundEx<<4, exMultitrackAudio
	}
	leading := packetType
	if mt.index > 0 {
		leading = multi
	}
	b := make([]byte, 0, 16)
	if nanoseconds >= 0 {
		b = append(b, first|exModEx, 2, byte(nanoseconds>>16), byte(nanoseconds>>8), byte(nanoseconds), modExNanoseconds<<4|leading)
	} else {
		b = append(b, first|leading)
	}
	if mt.index > 0 {
		b = append(b, multitrackOne<<4|packetType)
	}
	b = append(b, FourCC(t.Codec)...)
	if mt.index > 0 {
		b = append(b, byte(mt.index))
	}
	return b
}

// mp3Flags are the rate, size and channel bits of a legacy MP3 body.
func mp3Flags(t *media.Track) byte {
	b := byte(2) // 16 bits a sample
	switch {
	case t.SampleRate >= 44100:
		b |= 3 << 2
	case t.SampleRate >= 22050:
		b |= 2 << 2
	case t.SampleRate >= 11025:
		b |= 1 << 2
	}
	if t.Channels != 1 {
		b |= 1
	}
	return b
}
