//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"onair/internal/media"
)

// readHLS waits for the end of a broadcast and returns the packets of its first variant
// and its audio rendition.
func (s *server) readHLS(ctx context.Context, t *testing.T, st stream) ([]*media.Packet, error) {
	master, base, err := fetchText(ctx, s.hlsURL(st))
	for err != nil && ctx.Err() == nil { // its first segment is not there yet
		pause(ctx, 100*time.Millisecond)
		master, base, err = fetchText(ctx, s.hlsURL(st))
	}
	if err != nil {
		return nil, err
	}
	var uris []string
	for _, line := range strings.Split(master, "\n") {
		if rest, ok := strings.CutPrefix(line, "#EXT-X-MEDIA:"); ok && strings.Contains(rest, "TYPE=AUDIO") {
			uris = append(uris, attribute(rest, "URI"))
		}
		if line != "" && !strings.HasPrefix(line, "#") && len(uris) < 2 {
			uris = append(uris, line)
		}
	}
	var packets []*media.Packet
	for _, uri := range uris {
		u, err := base.Parse(uri)
		if err != nil {
			return nil, err
		}
		data, err := readRendition(ctx, u.String())
		if err != nil {
			return nil, err
		}
		p, _ := readMP4(t, data)
		packets = append(packets, p...)
	}
	return packets, nil
}

// readRendition polls a media playlist until it has ended, and returns its init segment
// and every segment it ever listed, one after the other.
func readRendition(ctx context.Context, address string) ([]byte, error) {
	var data bytes.Buffer
	var seen []string
	for {
		text, base, err := fetchText(ctx, address)
		if err != nil {
			return nil, err
		}
		for _, line := range strings.Split(text, "\n") {
			uri := line
			if rest, ok := strings.CutPrefix(line, "#EXT-X-MAP:"); ok {
				uri = attribute(rest, "URI")
			} else if line == "" || strings.HasPrefix(line, "#") {
				continue
			}
			if slices.Contains(seen, uri) {
				continue
			}
			seen = append(seen, uri)
			u, err := base.Parse(uri)
			if err != nil {
				return nil, err
			}
			body, _, err := fetchText(ctx, u.String())
			if err != nil {
				return nil, err
			}
			data.WriteString(body)
		}
		if strings.Contains(text, "#EXT-X-ENDLIST") {
			return data.Bytes(), nil
		}
		pause(ctx, 300*time.Millisecond)
	}
}

func attribute(list, name string) string {
	_, rest, ok := strings.Cut(list, name+`="`)
	if !ok {
		return ""
	}
	value, _, _ := strings.Cut(rest, `"`)
	return value
}

// fetchText gets a URL, following redirects, and returns the body and where it came from.
func fetchText(ctx context.Context, address string) (string, *url.URL, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return "", nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s: %.200s", req.URL.Path, res.Status, body)
	}
	return string(body), res.Request.URL, err
}

// readAll reads a player to its end.
func readAll(ctx context.Context, source media.Source) ([]*media.Packet, error) {
	var packets []*media.Packet
	for {
		p, err := source.ReadPacket(ctx)
		if err != nil {
			if errors.Is(err, io.EOF) || len(packets) > 0 && ctx.Err() == nil {
				err = nil // how a protocol says that the broadcast is over is its own affair
			}
			return packets, err
		}
		packets = append(packets, p)
	}
}

// arrived is how what came out of a way compares with what went in.
type arrived struct {
	sent, got [3]int // by media.Kind
	skew      time.Duration
}

// compare looks for the clip's packets in what was received: the same bytes in the same
// order from the first received packet on, whose time stamps differ from the clip's by one
// and the same offset in both tracks, give or take tolerance. A viewer that joins later
// than the publisher misses the beginning; late says that this may be.
func (c *clip) compare(got []*media.Packet, late bool, tolerance time.Duration) (arrived, error) {
	var a arrived
	var offsets [3]time.Duration
	for _, kind := range []media.Kind{media.Video, media.Audio} {
		want := c.of(kind)
		var have []*media.Packet
		for _, p := range got {
			if p.Track.Kind() == kind {
				have = append(have, p)
			}
		}
		a.sent[kind], a.got[kind] = len(want), len(have)
		if len(have) == 0 {
			return a, fmt.Errorf("no %s came", kind)
		}
		from := slices.IndexFunc(want, func(p *media.Packet) bool { return bytes.Equal(p.Data, have[0].Data) })
		if from < 0 {
			return a, fmt.Errorf("the first %s packet that came (%d bytes, DTS %d) was not sent", kind, len(have[0].Data), have[0].DTS)
		}
		if !late && from > len(want)/50 {
			return a, fmt.Errorf("the %s lacks its first %d of %d packets", kind, from, len(want))
		}
		want = want[from:]
		// The last packets may have been on the way when the publisher left, and filler may
		// stand in their place.
		const lastOnes = 100 // one in so many
		begin := have[0].Track.Duration(have[0].PTS) - want[0].Track.Duration(want[0].PTS)
		for i, p := range have {
			if i > len(want)-2-len(want)/lastOnes && (i >= len(want) || !bytes.Equal(p.Data, want[i].Data)) {
				have = have[:i]
				break
			}
			if !bytes.Equal(p.Data, want[i].Data) {
				return a, fmt.Errorf("%s packet %d of %d (at %v) is not the one that was sent", kind, i, len(have), p.Track.Duration(p.DTS))
			}
			if i > 0 && p.DTS <= have[i-1].DTS {
				return a, fmt.Errorf("%s packet %d steps back from %d to %d", kind, i, have[i-1].DTS, p.DTS)
			}
			offset := p.Track.Duration(p.PTS) - want[i].Track.Duration(want[i].PTS)
			if (offset - begin).Abs() > tolerance {
				return a, fmt.Errorf("%s packet %d of %d has moved by %v", kind, i, len(have), offset-begin)
			}
		}
		offsets[kind] = begin
		if missing := len(want) - len(have); missing > 1+len(want)/lastOnes {
			return a, fmt.Errorf("the last %d of %d %s packets did not come", missing, len(want), kind)
		}
	}
	a.skew = offsets[media.Audio] - offsets[media.Video]
	if a.skew.Abs() > tolerance {
		return a, fmt.Errorf("sound and picture have moved by %v against each other", a.skew)
	}
	return a, nil
}
