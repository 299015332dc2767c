//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media/samplebuilder"

	"onair/internal/media"
	"onair/internal/media/bitstream"
	"onair/internal/media/fmp4"
)

// rtcFrame is a picture or a packet of sound that a viewer got.
type rtcFrame struct {
	stamp   int64 // RTP time, without its wraps
	data    []byte
	arrived time.Time // its last packet
}

// rtcRecord is what came of one track.
type rtcRecord struct {
	codec  string
	clock  int64
	frames []rtcFrame
	// report is the newest sender report: reported is the wall clock at the RTP time stamp.
	stamp    uint32
	reported time.Time
}

// viewWHEP watches a stream over WebRTC for some time and keeps what came.
func (s *server) viewWHEP(ctx context.Context, st stream, d time.Duration) (video, audio *rtcRecord, err error) {
	pc, err := webrtc.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return nil, nil, err
	}
	var mu sync.Mutex
	records := map[webrtc.RTPCodecType]*rtcRecord{webrtc.RTPCodecTypeVideo: {}, webrtc.RTPCodecTypeAudio: {}}
	var readers sync.WaitGroup
	defer readers.Wait()
	defer pc.Close()
	for kind := range records {
		if _, err := pc.AddTransceiverFromKind(kind, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
			return nil, nil, err
		}
	}
	pc.OnTrack(func(track *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) {
		mu.Lock()
		r := records[track.Kind()]
		r.codec, r.clock = track.Codec().MimeType, int64(track.Codec().ClockRate)
		mu.Unlock()
		readers.Go(func() { r.read(&mu, track) })
		readers.Go(func() { r.reports(&mu, receiver) })
	})
	session, err := whipOffer(ctx, pc, s.http+"/whep/"+st.playbackID(), "")
	if err != nil {
		return nil, nil, err
	}
	pause(ctx, d)
	req, err := http.NewRequestWithContext(ctx, http.MethodDelete, session, nil)
	if err != nil {
		return nil, nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, nil, err
	}
	res.Body.Close()
	pc.Close()
	readers.Wait()
	return records[webrtc.RTPCodecTypeVideo], records[webrtc.RTPCodecTypeAudio], nil
}

// read puts packets together until the track ends.
func (r *rtcRecord) read(mu *sync.Mutex, track *webrtc.TrackRemote) {
	var parts rtp.Depacketizer = &codecs.OpusPacket{}
	switch r.codec {
	case webrtc.MimeTypeH264:
		parts = &codecs.H264Packet{}
	case webrtc.MimeTypeVP8:
		parts = &codecs.VP8Packet{}
	}
	builder := samplebuilder.New(512, parts, uint32(r.clock))
	arrived := map[uint32]time.Time{}
	var last int64
	for {
		p, _, err := track.ReadRTP()
		if err != nil {
			return
		}
		if len(p.Payload) == 0 {
			continue
		}
		arrived[p.Timestamp] = time.Now()
		builder.Push(p)
		for sample := builder.Pop(); sample != nil; sample = builder.Pop() {
			mu.Lock()
			if len(r.frames) == 0 {
				last = int64(sample.PacketTimestamp)
			}
			last += int64(int32(sample.PacketTimestamp - uint32(last)))
			r.frames = append(r.frames, rtcFrame{last, bytes.Clone(sample.Data), arrived[sample.PacketTimestamp]})
			mu.Unlock()
		}
	}
}

// reports keeps the newest sender report.
func (r *rtcRecord) reports(mu *sync.Mutex, receiver *webrtc.RTPReceiver) {
	for {
		packets, _, err := receiver.ReadRTCP()
		if err != nil {
			return
		}
		for _, p := range packets {
			if report, ok := p.(*rtcp.SenderReport); ok {
				mu.Lock()
				r.stamp = report.RTPTime
				r.reported = time.Unix(int64(report.NTPTime>>32), int64((report.NTPTime&0xffffffff)*1e9>>32))
				mu.Unlock()
			}
		}
	}
}

// at is the sender's wall clock of a frame.
func (r *rtcRecord) at(f rtcFrame) time.Time {
	ticks := int64(int32(uint32(f.stamp) - r.stamp))
	return r.reported.Add(time.Duration(ticks) * time.Second / time.Duration(r.clock))
}

// rtcOffsets finds how much later the beep starts than the square shows, as a viewer shows
// them who follows the sender reports.
func rtcOffsets(t *testing.T, video, audio *rtcRecord) []time.Duration {
	t.Helper()
	if len(video.frames) == 0 || len(audio.frames) == 0 || video.reported.IsZero() || audio.reported.IsZero() {
		t.Fatalf("%d pictures, %d packets of sound, sender reports at %v and %v", len(video.frames), len(audio.frames), video.reported, audio.reported)
	}
	origin := video.at(video.frames[0])
	if first := audio.at(audio.frames[0]); first.Before(origin) {
		origin = first
	}
	dir := t.TempDir()
	picture, sound := filepath.Join(dir, "picture.ivf"), filepath.Join(dir, "sound.mp4")
	for file, data := range map[string][]byte{picture: video.ivf(origin), sound: audio.opus(t, origin)} {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// The beginning tells nothing: a tone may be on already, and sound that comes late is
	// left out until its usual pace is known.
	begun := max(video.at(video.frames[0]).Sub(origin), audio.at(audio.frames[0]).Sub(origin)).Seconds() + 1.2
	return offsetsOf(squareTimes(t, picture), slices.DeleteFunc(beepTimes(t, sound), func(at float64) bool { return at < begun }))
}

// ivf writes the pictures with the time at which each is shown.
func (r *rtcRecord) ivf(origin time.Time) []byte {
	name := map[string]string{webrtc.MimeTypeH264: "H264", webrtc.MimeTypeVP8: "VP80"}[r.codec]
	b := append([]byte("DKIF\x00\x00\x20\x00"), name...)
	b = append(b, 0, 0, 0, 0) // the size is in the pictures
	for _, v := range []uint32{90000, 1, uint32(len(r.frames)), 0} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	for _, f := range r.frames {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(f.data)))
		b = binary.LittleEndian.AppendUint64(b, uint64(r.at(f).Sub(origin)*90000/time.Second))
		b = append(b, f.data...)
	}
	return b
}

// opus writes the sound from the time at which it begins.
func (r *rtcRecord) opus(t *testing.T, origin time.Time) []byte {
	t.Helper()
	const rate = 48000
	head := append([]byte("OpusHead\x01\x02\x00\x00"), 0x80, 0xbb, 0, 0, 0, 0, 0) // 48 kHz, stereo, nothing skipped
	track, err := bitstream.Describe(&media.Track{ID: 1, Codec: media.Opus, Timescale: rate, SampleRate: rate, Channels: 2, Config: head})
	if err != nil {
		t.Fatal(err)
	}
	b, err := fmp4.Init(track)
	if err != nil {
		t.Fatal(err)
	}
	base := int64(r.at(r.frames[0]).Sub(origin) * rate / time.Second)
	const packet = rate / 50
	sequence := uint32(0)
	for i := 0; i+1 < len(r.frames); i++ {
		// What is missing is filled: who decodes it counts samples.
		for stamp := r.frames[i].stamp; stamp < r.frames[i+1].stamp; stamp += packet {
			sequence++
			fragment := fmp4.Fragment{Sequence: sequence, Track: track, BaseDTS: base + stamp - r.frames[0].stamp,
				Samples: []fmp4.Sample{{Data: r.frames[i].data, Duration: packet, Key: true}}}
			b = fragment.AppendTo(b)
		}
	}
	return b
}

// readIVF returns the pictures of an IVF file as packets of a track.
func readIVF(file string, track *media.Track) ([]*media.Packet, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var packets []*media.Packet
	for rest := data[32:]; len(rest) >= 12; {
		n, at := int(binary.LittleEndian.Uint32(rest)), int64(binary.LittleEndian.Uint64(rest[4:]))
		if len(rest) < 12+n {
			return nil, fmt.Errorf("%s: %w", file, io.ErrUnexpectedEOF)
		}
		frame := rest[12 : 12+n]
		packets = append(packets, &media.Packet{Track: track, DTS: at, PTS: at, Data: frame, Key: frame[0]&1 == 0})
		rest = rest[12+n:]
	}
	return packets, nil
}
