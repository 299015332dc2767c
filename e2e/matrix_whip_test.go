//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4"

	"onair/internal/media"
	"onair/internal/media/bitstream"
)

// rtcTrack sends one track of a clip over WebRTC.
type rtcTrack struct {
	local    *webrtc.TrackLocalStaticRTP
	payload  rtp.Payloader
	prefix   []byte // in front of every key, in Annex B
	clock    int
	sequence uint16
	mark     func(*rtp.Packet) error // tells which layer a packet is of; nil if there is one
}

// whipClip publishes a clip by WHIP.
func whipClip(ctx context.Context, t *testing.T, s *server, st stream, c *clip) error {
	pc, err := webrtc.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return err
	}
	defer pc.Close()
	tracks := make(map[*media.Track]*rtcTrack)
	for _, track := range c.tracks {
		r, err := newRTCTrack(track)
		if err != nil {
			return err
		}
		sender, err := pc.AddTrack(r.local)
		if err != nil {
			return err
		}
		go func() { // what comes back has to be read
			for {
				if _, _, err := sender.ReadRTCP(); err != nil {
					return
				}
			}
		}()
		tracks[track] = r
	}
	connected := make(chan struct{})
	pc.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		if state == webrtc.PeerConnectionStateConnected {
			close(connected)
		}
	})
	session, err := whipOffer(ctx, pc, s.http+"/whip", st.StreamKey)
	if err != nil {
		return err
	}
	select {
	case <-connected:
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := send(ctx, rtcSink(tracks), c); err != nil {
		return err
	}
	pause(ctx, 300*time.Millisecond) // for what is on the way
	req, err := http.NewRequestWithContext(ctx, http.MethodDelete, session, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+st.StreamKey)
	res, err := http.DefaultClient.Do(req)
	if err == nil {
		res.Body.Close()
	}
	return err
}

// whipOffer makes the exchange of WHIP and returns the session's address.
func whipOffer(ctx context.Context, pc *webrtc.PeerConnection, address, key string) (string, error) {
	offer, err := pc.CreateOffer(nil)
	if err != nil {
		return "", err
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(offer); err != nil {
		return "", err
	}
	<-gathered
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader([]byte(pc.LocalDescription().SDP)))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/sdp")
	req.Header.Set("Authorization", "Bearer "+key)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return "", err
	}
	if res.StatusCode != http.StatusCreated {
		return "", fmt.Errorf("POST %s: %s: %s", address, res.Status, answer)
	}
	session, err := res.Request.URL.Parse(res.Header.Get("Location"))
	if err != nil {
		return "", err
	}
	return session.String(), pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: string(answer)})
}

func newRTCTrack(t *media.Track, options ...func(*webrtc.TrackLocalStaticRTP)) (*rtcTrack, error) {
	r := &rtcTrack{clock: 90000}
	capability := webrtc.RTPCodecCapability{ClockRate: 90000}
	switch t.Codec {
	case media.H264:
		capability.MimeType = webrtc.MimeTypeH264
		capability.SDPFmtpLine = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"
		r.payload = &codecs.H264Payloader{}
		for _, set := range bitstream.ParameterSets(t) {
			r.prefix = append(append(r.prefix, 0, 0, 0, 1), set...)
		}
	case media.AV1:
		capability.MimeType, r.payload = webrtc.MimeTypeAV1, &codecs.AV1Payloader{}
	case media.VP8:
		capability.MimeType, r.payload = webrtc.MimeTypeVP8, &codecs.VP8Payloader{EnablePictureID: true}
	case media.Opus:
		capability.MimeType, capability.ClockRate, capability.Channels, r.clock = webrtc.MimeTypeOpus, 48000, 2, 48000
		r.payload = &codecs.OpusPayloader{}
	default:
		return nil, fmt.Errorf("WebRTC carries no %v", t.Codec)
	}
	var err error
	r.local, err = webrtc.NewTrackLocalStaticRTP(capability, t.Codec.String(), "clip", options...)
	return r, err
}

// rtcSink is a media.Sink over the tracks of a connection.
type rtcSink map[*media.Track]*rtcTrack

// WritePacket implements media.Sink.
func (s rtcSink) WritePacket(_ context.Context, p *media.Packet) error {
	const mtu = 1200
	r := s[p.Track]
	data := p.Data
	if p.Track.Codec == media.H264 {
		data = nil
		if p.Key {
			data = bytes.Clone(r.prefix)
		}
		for rest := p.Data; len(rest) >= 4; {
			n := int(binary.BigEndian.Uint32(rest))
			data = append(append(data, 0, 0, 0, 1), rest[4:4+n]...)
			rest = rest[4+n:]
		}
	}
	fragments := r.payload.Payload(mtu, data)
	for i, f := range fragments {
		packet := &rtp.Packet{Header: rtp.Header{
			Version: 2, SequenceNumber: r.sequence, Marker: i == len(fragments)-1 && p.Track.Kind() == media.Video,
			Timestamp: uint32(media.Rescale(p.PTS, int64(p.Track.Timescale), int64(r.clock))),
		}, Payload: f}
		r.sequence++
		if r.mark != nil {
			if err := r.mark(packet); err != nil {
				return err
			}
		}
		if err := r.local.WriteRTP(packet); err != nil {
			return err
		}
	}
	return nil
}
