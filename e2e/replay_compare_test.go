//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"onair/internal/media"
	"onair/internal/media/flv"
	"onair/internal/media/ts"
)

// probed is what ffprobe says of a file: the PTS of its packets by kind, in the order of
// the file, and those of key frames.
type probed struct {
	times [3][]time.Duration
	keys  []time.Duration
	// alien tells of codecs that have no place in the program.
	alien [3]bool
}

func probe(t *testing.T, file string) probed {
	t.Helper()
	var p probed
	out, _, _ := run(t, 20*time.Second, "ffprobe", "-v", "error", "-show_entries", "packet=codec_type,pts_time,flags", "-of", "csv=p=0", file)
	codecs, _, _ := run(t, 20*time.Second, "ffprobe", "-v", "error", "-show_entries", "stream=codec_name,codec_type", "-of", "csv=p=0", file)
	for _, line := range strings.Fields(codecs) {
		name, kind, _ := strings.Cut(line, ",")
		known := []string{"h264", "hevc", "aac", "mp3", "opus", "ac3", "eac3", "aac_latm"}
		if kind == "audio" {
			p.alien[media.Audio] = !slices.Contains(known, name)
		} else {
			p.alien[media.Video] = !slices.Contains(known, name)
		}
	}
	for _, line := range strings.Fields(out) {
		fields := strings.Split(line, ",")
		if len(fields) < 3 {
			continue
		}
		kind := media.Video
		if fields[0] == "audio" {
			kind = media.Audio
		}
		at := time.Duration(-1)
		if fields[1] != "N/A" {
			at = time.Duration(seconds(t, fields[1]) * float64(time.Second))
		}
		if kind == media.Video && len(p.keys) == 0 && !strings.HasPrefix(fields[2], "K") {
			continue // nothing could be decoded from it
		}
		if kind == media.Video && strings.HasPrefix(fields[2], "K") {
			p.keys = append(p.keys, at)
		}
		p.times[kind] = append(p.times[kind], at)
	}
	return p
}

// compare says what of the sample is missing in what a viewer got, and whether sound and
// picture have moved against each other.
func (r *sending) compare(t *testing.T, got []*media.Packet) (wrong []string) {
	t.Helper()
	want, packets := r.sent()
	sent, have := &clip{packets: packets}, &clip{packets: got}
	var moved [3][]time.Duration
	for _, kind := range []media.Kind{media.Video, media.Audio} {
		n := len(want.times[kind])
		if kind == media.Audio && len(have.of(media.Video)) > 0 && len(want.keys) > 0 {
			// The stream begins with its first picture.
			n = 0
			for _, at := range want.times[kind] {
				if at >= want.keys[0] {
					n++
				}
			}
			if before := len(want.times[kind]) - n; before > 0 {
				t.Logf("%d audio packets come before the first picture", before)
			}
		}
		if len(want.times[kind]) == 0 {
			n = len(sent.of(kind)) // ffprobe does not know the codec
		}
		came := common(sent.of(kind), have.of(kind)) // the rest is filler
		if n == 0 || came == 0 && want.alien[kind] {
			continue // a codec that nobody carries; there is another track to take
		}
		t.Logf("%d of %d %s packets", came, n, kind)
		// Of the last one's duration nothing is known, and it may have been cut off.
		if came*100 < (n-2)*99 {
			wrong = append(wrong, fmt.Sprintf("%d of %d %s packets came", came, n, kind))
		}
		moved[kind] = offsets(sent.of(kind), have.of(kind))
	}
	if len(moved[media.Video]) == 0 || len(moved[media.Audio]) == 0 {
		return wrong
	}
	best := time.Hour
	for _, v := range moved[media.Video] {
		for _, a := range moved[media.Audio] {
			if (a - v).Abs() < best.Abs() {
				best = a - v
			}
		}
	}
	t.Logf("sound has moved by %v against the picture", best)
	if best.Abs() > 20*time.Millisecond {
		wrong = append(wrong, fmt.Sprintf("sound has moved by %v against the picture", best))
	}
	return wrong
}

// common counts the packets that came, in the order in which they were sent.
func common(sent, have []*media.Packet) (n int) {
	for _, h := range have {
		if i := slices.IndexFunc(sent, func(p *media.Packet) bool { return bytes.Equal(p.Data, h.Data) }); i >= 0 {
			n++
			sent = sent[i+1:]
		}
	}
	return n
}

// offsets returns by how much the first packet that came may have moved: more than one
// that was sent may have its payload.
func offsets(sent, have []*media.Packet) (moved []time.Duration) {
	for _, h := range have {
		for _, p := range sent {
			if bytes.Equal(p.Data, h.Data) {
				moved = append(moved, h.Track.Duration(h.PTS)-p.Track.Duration(p.PTS))
			}
		}
		if moved != nil {
			break // what comes first may be filler
		}
	}
	return moved
}

// packetsOf reads what ffmpeg wrote beside what it sent, with the program's own readers:
// for payloads and times; how much there is ffprobe tells.
func packetsOf(t *testing.T, way, file string) (packets []*media.Packet) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	if way == "mpegts" {
		r := ts.NewReader(bytes.NewReader(data))
		for {
			p, err := r.ReadPacket(t.Context())
			if err != nil {
				return packets
			}
			packets = append(packets, p)
		}
	}
	const header = 9 + 4
	if len(data) < header {
		return nil
	}
	var d flv.Demuxer
	for tag, err := range flv.Tags(data[header:]) {
		if err != nil {
			return packets
		}
		var got []*media.Packet
		switch tag.Type {
		case 8:
			got, err = d.Audio(tag.Timestamp, tag.Body)
		case 9:
			got, err = d.Video(tag.Timestamp, tag.Body)
		}
		if err == nil {
			packets = append(packets, got...)
		}
	}
	return packets
}
