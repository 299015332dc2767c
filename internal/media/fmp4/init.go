package fmp4

import (
	"bytes"
	"fmt"
	"math"

	"github.com/Eyevinn/mp4ff/mp4"

	"onair/internal/fault"
	"onair/internal/media"
	"onair/internal/media/bitstream"
)

// Init returns the CMAF header (ftyp and moov) of one track, which bitstream.Describe
// has completed. It depends on the track's parameters only, not on its ID, Version or
// the time: the same parameters give the same bytes.
//
// It fails with fault.Unsupported for a codec that has no place in CMAF, and with
// fault.Invalid where the track lacks what the header must say.
func Init(t *media.Track) ([]byte, error) {
	entry, brand, err := sampleEntry(t)
	if err != nil {
		return nil, err
	}
	if t.Timescale <= 0 || t.Timescale > math.MaxUint32 {
		return nil, invalid(t, fmt.Sprintf("the timescale is %d", t.Timescale))
	}
	init := mp4.NewMP4Init()
	brands := []string{"iso6", "cmfc", "mp41"}
	if brand != "" {
		brands = append(brands, brand)
	}
	init.AddChild(mp4.NewFtyp("iso6", 0, brands))
	moov := mp4.NewMoovBox()
	init.AddChild(moov)
	id := trackID(t)
	mvhd := mp4.CreateMvhd()
	mvhd.Timescale = 1000
	mvhd.NextTrackID = id + 1
	moov.AddChild(mvhd)
	moov.AddChild(trak(t, id, entry))
	mvex := mp4.NewMvexBox()
	mvex.AddChild(mp4.CreateTrex(id))
	moov.AddChild(mvex)
	var b bytes.Buffer
	if err := init.Encode(&b); err != nil {
		return nil, fault.Wrap(fault.Internal, "write the MP4 header of", t.Codec.String(), err, "")
	}
	return b.Bytes(), nil
}

func trak(t *media.Track, id uint32, entry mp4.Box) *mp4.TrakBox {
	kind, tag := t.Kind().String(), language(t.Language)
	box := mp4.CreateEmptyTrak(id, uint32(t.Timescale), kind, tag)
	box.Tkhd.Flags = 3 // enabled, in the movie
	box.Mdia.Hdlr.Name = kind
	if t.Kind() == media.Audio {
		box.Tkhd.AlternateGroup = 1
	} else {
		w, h := uint64(t.Width), uint64(t.Height)
		if sarW, sarH := bitstream.SampleAspect(t); sarH > 0 {
			w = w * uint64(sarW) / uint64(sarH)
		}
		box.Tkhd.Width = mp4.Fixed32(min(w, math.MaxUint16) << 16)
		box.Tkhd.Height = mp4.Fixed32(min(h, math.MaxUint16) << 16)
	}
	box.Mdia.Minf.Stbl.Stsd.AddChild(entry)
	return box
}

// language returns what mp4ff puts into mdhd (three small letters) or else into elng.
func language(tag string) string {
	if tag == "" || len(tag) > 35 { // RFC 5646, section 4.4.1
		return "und"
	}
	for i := range len(tag) {
		c := tag[i]
		small := c >= 'a' && c <= 'z'
		other := c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-'
		if !small && (len(tag) == 3 || !other) {
			return "und"
		}
	}
	return tag
}

// sampleEntry makes the entry for the track's codec, and the media profile brand, if
// CMAF has one for it.
func sampleEntry(t *media.Track) (entry mp4.Box, brand string, err error) {
	config := bitstream.CanonicalConfig(t)
	if len(config) == 0 && t.Codec != media.MP3 {
		return nil, "", invalid(t, "the track has no decoder configuration")
	}
	switch t.Codec {
	case media.H264:
		return visual(t, "avc1", "avcC", config), hd(t, "cfhd"), checkVideo(t)
	case media.HEVC:
		return visual(t, "hvc1", "hvcC", config), hd(t, "chhd"), checkVideo(t)
	case media.AV1:
		return visual(t, "av01", "av1C", config), "av01", checkVideo(t)
	case media.VP9:
		return visual(t, "vp09", "vpcC", config), "", checkVideo(t)
	case media.AAC:
		return audio(t, "mp4a", esds(mp4.ObjectTypeAAC, config)), "caac", checkAudio(t)
	case media.MP3:
		return audio(t, "mp4a", esds(objectTypeMP3, nil)), "", checkAudio(t)
	case media.Opus:
		return audio(t, "Opus", rawBox("dOps", config)), "", checkAudio(t)
	case media.AC3:
		return audio(t, "ac-3", rawBox("dac3", config)), "", checkAudio(t)
	case media.EAC3:
		return audio(t, "ec-3", rawBox("dec3", config)), "", checkAudio(t)
	case media.FLAC:
		// dfLa is a full box of version 0.
		return audio(t, "fLaC", rawBox("dfLa", append([]byte{0, 0, 0, 0}, config...))), "", checkAudio(t)
	default:
		return nil, "", fault.New(fault.Unsupported, "write the MP4 header of", t.Codec.String(),
			"the codec has no place in CMAF", "Send H.264, HEVC, AV1 or VP9 and AAC, Opus, AC-3, FLAC or MP3.")
	}
}

// objectTypeMP3 is MPEG-1 audio (ISO/IEC 14496-1, table 5).
const objectTypeMP3 = 0x6b

// hd returns the brand of the HD media profiles (ISO/IEC 23000-19, tables A.1 and B.1) for
// pictures they allow.
func hd(t *media.Track, brand string) string {
	if t.Width > 1920 || t.Height > 1080 {
		return ""
	}
	return brand
}

func checkVideo(t *media.Track) error {
	if t.Width <= 0 || t.Height <= 0 || t.Width > math.MaxUint16 || t.Height > math.MaxUint16 {
		return invalid(t, fmt.Sprintf("the picture is %dx%d", t.Width, t.Height))
	}
	return nil
}

func checkAudio(t *media.Track) error {
	if t.SampleRate <= 0 || t.Channels <= 0 || t.Channels > math.MaxUint16 {
		return invalid(t, fmt.Sprintf("the sound has %d channels of %d Hz", t.Channels, t.SampleRate))
	}
	return nil
}

func invalid(t *media.Track, cause string) error {
	return fault.New(fault.Invalid, "write the MP4 header of", t.Codec.String(), cause, "")
}

// rawBox keeps a configuration as the encoder wrote it, where decoding and encoding it
// again could lose something.
func rawBox(name string, content []byte) mp4.Box {
	return mp4.CreateUnknownBox(name, uint64(8+len(content)), content)
}

func visual(t *media.Track, name, configName string, config []byte) mp4.Box {
	e := mp4.CreateVisualSampleEntryBox(name, uint16(t.Width), uint16(t.Height), nil)
	e.CompressorName = ""
	if t.Codec == media.VP9 {
		config = append([]byte{1, 0, 0, 0}, config...) // vpcC is a full box of version 1
	}
	e.Children = append(e.Children, rawBox(configName, config))
	if w, h := bitstream.SampleAspect(t); h > 0 && w != h {
		e.AddChild(&mp4.PaspBox{HSpacing: uint32(w), VSpacing: uint32(h)})
	}
	return e
}

func audio(t *media.Track, name string, config mp4.Box) mp4.Box {
	rate := t.SampleRate
	if rate > math.MaxUint16 {
		rate = 0 // does not fit; decoders read the configuration
	}
	e := mp4.CreateAudioSampleEntryBox(name, uint16(t.Channels), 16, uint16(rate), nil)
	e.Children = append(e.Children, config)
	return e
}

func esds(objectType byte, config []byte) mp4.Box {
	e := mp4.CreateEsdsBox(config)
	e.DecConfigDescriptor.ObjectType = objectType
	if config == nil {
		e.DecConfigDescriptor.DecSpecificInfo = nil
	}
	return e
}
