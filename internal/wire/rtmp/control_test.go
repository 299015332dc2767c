package rtmp

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"

	"github.com/bluenviron/gortmplib/pkg/amf0"
	"github.com/google/go-cmp/cmp"

	"onair/internal/media/flv"
	"onair/internal/media/mediatest"
)

// sent reads the messages that the server wrote in a recording.
func sent(t *testing.T, rec *recording) []message {
	t.Helper()
	r := reader(rec.out.Bytes()[1+2*handshakeSize:])
	r.trusted = true
	var out []message
	for {
		m, err := r.read()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if m.typ == typeSetChunkSize {
			r.size = ourChunkSize
		}
		out = append(out, m)
	}
}

func ofType(in []message, typ uint8) (out []message) {
	for _, m := range in {
		if m.typ == typ {
			out = append(out, m)
		}
	}
	return out
}

func TestWhatArrivesIsAcknowledged(t *testing.T) {
	s := publishing(t, goodKey).message(csidControl, typeWindowAckSize, 0, 0, u32(minWindow))
	for i := range uint32(20) {
		s.message(csidData, 99, 0, i, make([]byte, minWindow/2)) // of no known type
	}
	_, rec := replay(t, bytes.NewReader(s.bytes()))
	if n := len(ofType(sent(t, rec), typeAck)); n < 2 || n > 10 {
		t.Errorf("%d acknowledgements", n)
	}
}

func TestControlMessagesAreAnswered(t *testing.T) {
	s := connected(t).
		message(csidControl, typeUserControl, 0, 0, eventBody(eventPingRequest, 77)).
		message(csidControl, typePeerBandwidth, 0, 0, append(u32(1<<20), 2)).
		message(csidControl, typeUserControl, 0, 0, []byte{0, 31}).
		message(csidControl, typeUserControl, 0, 0, eventBody(32, 1)).
		message(csidControl, typeSetChunkSize, 0, 0, []byte{1}).
		message(csidControl, typeAbort, 0, 0, u32(9))
	_, rec := replay(t, bytes.NewReader(s.bytes()))
	got := sent(t, rec)
	pong := false
	for _, m := range ofType(got, typeUserControl) {
		pong = pong || bytes.Equal(m.body, eventBody(eventPingResponse, 77))
	}
	if !pong {
		t.Error("the ping was not answered")
	}
	if w := ofType(got, typeWindowAckSize); len(w) != 2 || !bytes.Equal(w[1].body, u32(1<<20)) {
		t.Errorf("window acknowledgement sizes %v", w)
	}
}

// TestCommandsAreAnswered replays the commands of the clients that differ most.
func TestCommandsAreAnswered(t *testing.T) {
	for name, s := range map[string]*script{
		"OBS": newScript(t).command(0, "connect", 1.0, connectProperties("rtmp://localhost/live")).
			command(0, "releaseStream", 2.0, nil, goodKey).command(0, "FCPublish", 3.0, nil, goodKey).
			command(0, "createStream", 4.0, nil).command(0, "_checkbw", 5.0, nil).command(1, "publish", 6.0, nil, goodKey, "live"),
		"GStreamer": newScript(t).command(0, "connect", 1.0, connectProperties("rtmp://localhost/live")).
			command(0, "releaseStream", 0.0, nil, goodKey).command(0, "FCPublish", 0.0, nil, goodKey).
			command(0, "createStream", 2.0, nil).command(1, "publish", 0.0, nil, goodKey, "live").command(0, "deleteStream", 0.0, nil, goodKey),
	} {
		st, rec := replay(t, bytes.NewReader(s.bytes()))
		if len(st.keys) != 1 || st.keys[0] != goodKey {
			t.Fatalf("%s: keys %q", name, st.keys)
		}
		results := map[float64]bool{}
		started := false
		for _, m := range ofType(sent(t, rec), typeCommandAMF0) {
			c, err := decodeCall(m)
			if err != nil {
				t.Fatal(err)
			}
			if c.name == "_result" {
				results[c.id] = true
			}
			if c.name == "onStatus" && statusCode(c) == "NetStream.Publish.Start" {
				started = m.streamID == 1
			}
		}
		want := map[float64]bool{1: true, 2: true}
		if name == "OBS" {
			want = map[float64]bool{1: true, 2: true, 3: true, 4: true, 5: true}
		}
		if d := cmp.Diff(want, results); d != "" || !started {
			t.Errorf("%s: started %v, results:\n%s", name, started, d)
		}
	}
}

func TestCapabilitiesStandInBothObjects(t *testing.T) {
	_, rec := replay(t, bytes.NewReader(connected(t).bytes()))
	c, err := decodeCall(ofType(sent(t, rec), typeCommandAMF0)[0])
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		o, _ := object(c.arg(i))
		got := capabilitiesOf(o)
		for _, name := range []string{"avc1", "hvc1", "av01", "vp09", "mp4a", "Opus", "ac-3", "ec-3", ".mp3", "fLaC"} {
			if !got.fourCCs[name] {
				t.Errorf("object %d does not name %s", i, name)
			}
		}
		if got.capsEx != 15 {
			t.Errorf("object %d has capsEx %d", i, got.capsEx)
		}
		for _, key := range []string{"fourCcList", "videoFourCcInfoMap", "audioFourCcInfoMap"} {
			if _, ok := o.Get(key); !ok {
				t.Errorf("object %d has no %s", i, key)
			}
		}
	}
}

func TestAMF3Commands(t *testing.T) {
	body := func(values ...any) []byte {
		b, err := amf0.Data(values).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		return append([]byte{0}, b...)
	}
	s := newScript(t).
		message(csidCommand, typeCommandAMF3, 0, 0, body("connect", 1.0, connectProperties("rtmp://localhost/live"))).
		message(csidCommand, typeCommandAMF3, 0, 0, body("createStream", 2.0, nil)).
		message(csidCommand, typeCommandAMF3, 1, 0, body("publish", 3.0, nil, goodKey, "live")).
		message(csidData, typeDataAMF3, 1, 0, body("@setDataFrame", "onMetaData", amf0.ECMAArray{{Key: "encoder", Value: "old"}})).
		message(csidCommand, typeCommandAMF3, 1, 0, body("closeStream", 0.0, nil))
	st, _ := replay(t, bytes.NewReader(s.bytes()))
	if !errors.Is(st.ended, io.EOF) || st.encoder != "old" {
		t.Errorf("encoder %q ended with %v", st.encoder, st.ended)
	}
}

func TestAggregateIsWhatItsPartsAre(t *testing.T) {
	b, err := os.ReadFile(mediatest.SharedFile(t, "flv-rtmp/sample-with-key-frame-index.flv"))
	if err != nil {
		t.Fatal(err)
	}
	const later = 40_000
	single, _ := replay(t, bytes.NewReader(joined(published(t, b[13:]))))
	s := publishing(t, goodKey).message(csidVideo, typeAggregate, 1, later, b[13:])
	whole, _ := replay(t, bytes.NewReader(s.command(1, "deleteStream", 0.0, nil).bytes()))
	if len(whole.packets) != len(single.packets) || len(single.packets) == 0 {
		t.Fatalf("%d packets, one by one %d", len(whole.packets), len(single.packets))
	}
	for _, p := range single.packets {
		p.DTS += later
		p.PTS += later
	}
	if d := cmp.Diff(single.packets, whole.packets, packetOptions); d != "" {
		t.Error(d)
	}
	for tag, err := range flv.Tags(b[13:]) {
		if err != nil || tag.Timestamp != 0 {
			t.Fatal("the file does not begin at 0")
		}
		break
	}
}
