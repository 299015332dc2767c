package transcode

import (
	"context"
	"io"
	"testing"

	"onair/internal/event"
	"onair/internal/ffmpeg"
	"onair/internal/hub"
	"onair/internal/media"
)

// BenchmarkWant is what each request of a rendition that is running costs.
func BenchmarkWant(b *testing.B) {
	h := hub.New(hub.DefaultConfig(), event.NewBus(), nil, nil)
	pub, err := h.Publish("s", hub.PublishOptions{})
	if err != nil {
		b.Fatal(err)
	}
	tr := New(DefaultConfig(), h, newFakeTool(), nil, nil, nil, nil)
	s := newStream(tr, pub.Stream())
	s.ctx = context.Background()
	r := &rung{name: "480p", state: Running}
	r.serving.Store(true)
	s.rungs.Store(&map[string]*rung{"480p": r})
	tr.streams.Store("s", s)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := tr.Want("s", "480p"); err != nil {
				b.Error(err)
			}
		}
	})
}

// BenchmarkRungs is what rungs of a source at 720p30 cost in one process each, as they are
// made just in time, and in one process together, as they are when they are always on: in
// seconds of the processor for a second of media.
func BenchmarkRungs(b *testing.B) {
	tool := realTool(b)
	packets := clip(b, 1, "-f", "lavfi", "-i", "testsrc2=s=1280x720:r=30,noise=alls=12:allf=t", "-t", "8", "-pix_fmt", "yuv420p",
		"-c:v", "libx264", "-preset", "veryfast", "-b:v", "3M", "-bf", "2", "-g", "60")
	track := *packets[0].Track
	track.FrameRate = 30
	for _, p := range packets {
		p.Track = &track
	}
	length := track.Duration(packets[len(packets)-1].DTS - packets[0].DTS).Seconds()
	var outs []ffmpeg.Output
	for _, s := range plan(source{video: &track, rate: 30}, DefaultConfig().resolve(Choice{}), tool) {
		s.video.Encoder, _ = New(DefaultConfig(), nil, tool, nil, nil, nil, nil).encoder(s.codec())
		outs = append(outs, ffmpeg.Output{Name: s.name, TrackID: 9, Rendition: s.name, Sink: nowhere{}, Video: s.video})
	}
	encode := func(b *testing.B, outs ...ffmpeg.Output) (cpu float64) {
		var last ffmpeg.Progress
		err := tool.Run(b.Context(), ffmpeg.Job{Stream: "s", Source: &track, Outputs: outs}, &list{packets}, func(p ffmpeg.Progress) { last = p })
		if err != nil {
			b.Fatal(err)
		}
		return last.CPU.Seconds() / length
	}
	for i, o := range outs {
		b.Run(o.Name, func(b *testing.B) {
			sum := 0.0
			for b.Loop() {
				sum += encode(b, outs[i])
			}
			b.ReportMetric(sum/float64(b.N), "cores")
		})
	}
	b.Run("together", func(b *testing.B) {
		sum := 0.0
		for b.Loop() {
			sum += encode(b, outs...)
		}
		b.ReportMetric(sum/float64(b.N), "cores")
	})
}

// list is a Source of packets, nowhere a Sink that keeps none.
type (
	list    struct{ packets []*media.Packet }
	nowhere struct{}
)

func (l *list) ReadPacket(context.Context) (*media.Packet, error) {
	if len(l.packets) == 0 {
		return nil, io.EOF
	}
	p := l.packets[0]
	l.packets = l.packets[1:]
	return p, nil
}

func (nowhere) WritePacket(context.Context, *media.Packet) error { return nil }
