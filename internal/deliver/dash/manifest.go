package dash

import (
	"encoding/xml"
	"math"
	"strconv"
	"time"

	"onair/internal/media"
)

// Schemes of descriptors.
const (
	schemeTime      = "urn:mpeg:dash:utc:http-xsdate:2014"
	schemeChannels  = "urn:mpeg:mpegB:cicp:ChannelConfiguration"
	schemeSwitching = "urn:mpeg:dash:adaptation-set-switching:2016"
	schemeRole      = "urn:mpeg:dash:role:2011"

	profileLive = "urn:mpeg:dash:profile:isoff-live:2011"
	profileLow  = profileLive + ",http://www.dashif.org/guidelines/low-latency-live-v5"
)

// serverClock is where the server's clock is, seen from where the segments are.
var serverClock = xmlDescriptor{schemeTime, "../../" + timeName}

// render writes the manifest.
func (p *presentation) render() ([]byte, error) {
	m := xmlMPD{
		Profiles: profileLive, Type: "dynamic",
		Buffer: isoDuration(p.buffer), Longest: isoDuration(p.longest),
	}
	if p.low {
		m.Profiles = profileLow
	}
	zero := time.Duration(0)
	if p.ended {
		m.Type = "static"
		if p.rebased && len(p.periods) > 0 {
			zero = p.begin()
		}
		m.Duration = isoDuration(p.end - zero)
	} else {
		m.Start, m.Published = dateTime(p.start), dateTime(p.published)
		m.Update, m.Window, m.Delay = isoDuration(p.update), isoDuration(p.window), isoDuration(p.delay)
		m.Descriptions = []xmlService{p.service()}
		m.UTCTimings = []xmlDescriptor{serverClock}
	}
	for i := range p.periods {
		m.Periods = append(m.Periods, p.period(&p.periods[i], max(zero, p.periods[i].start), zero))
	}
	text, err := xml.MarshalIndent(m, "", " ")
	return append([]byte(xml.Header), text...), err
}

// begin is when the first segment begins.
func (p *presentation) begin() time.Duration {
	first := time.Duration(math.MaxInt64)
	for _, s := range p.periods[0].sets {
		for _, r := range s.list {
			first = min(first, r.track.Duration(r.spans[0].t))
		}
	}
	return max(first, p.periods[0].start).Truncate(time.Millisecond)
}

// service says which delay is wanted and by how much the pace may differ to keep it.
func (p *presentation) service() xmlService {
	return xmlService{
		Latency: xmlLatency{
			Target: p.delay.Milliseconds(), Min: (p.delay / 2).Milliseconds(), Max: (2*p.delay + p.longest).Milliseconds(),
		},
		Rate: xmlRate{Min: "0.96", Max: "1.04"},
	}
}

// period renders a Period that begins at a time of the presentation, which counts from zero.
func (p *presentation) period(now *period, start, zero time.Duration) xmlPeriod {
	out := xmlPeriod{ID: now.id, Start: isoDuration(start - zero)}
	for i := range now.sets {
		s := &now.sets[i]
		a := xmlSet{ID: i, Alignment: true, StartWithSAP: 1, Priority: s.priority}
		if s.kind == media.Video {
			a.ContentType, a.MimeType = "video", typeVideo[0]
			if others := now.others(i); others != "" {
				a.Supplemental = []xmlDescriptor{{schemeSwitching, others}}
			}
		} else {
			a.ContentType, a.MimeType, a.Lang = "audio", typeAudio[0], language(s.language)
		}
		if s.priority > 1 {
			a.Roles = []xmlDescriptor{{schemeRole, "main"}}
		}
		for j := range s.list {
			r := p.representation(&s.list[j], start)
			a.MaxWidth, a.MaxHeight = max(a.MaxWidth, r.Width), max(a.MaxHeight, r.Height)
			a.Representations = append(a.Representations, r)
		}
		out.Sets = append(out.Sets, a)
	}
	if now.pictures != nil {
		out.Sets = append(out.Sets, now.pictures.set(start))
	}
	return out
}

// others lists the other sets that show the same picture, in other codecs.
func (p *period) others(than int) (list string) {
	for i := range p.sets {
		if i == than || p.sets[i].kind != media.Video {
			continue
		}
		if list != "" {
			list += ","
		}
		list += strconv.Itoa(i)
	}
	return list
}

// language is a tag that can stand in a manifest.
func language(tag string) string {
	if len(tag) > 35 { // RFC 5646, section 4.4.1
		return ""
	}
	for i := range len(tag) {
		c := tag[i]
		if c != '-' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return ""
		}
	}
	return tag
}

func (p *presentation) representation(r *representation, start time.Duration) xmlRepresentation {
	t := r.track
	out := xmlRepresentation{ID: r.name, Bandwidth: bandwidth(r.peak), Codecs: t.CodecString}
	if t.Kind() == media.Video {
		out.Width, out.Height, out.FrameRate = max(t.Width, 0), max(t.Height, 0), frameRate(r.rate)
	} else {
		out.SampleRate = max(t.SampleRate, 0)
		if t.Channels > 0 {
			out.Channels = []xmlDescriptor{{schemeChannels, strconv.Itoa(t.Channels)}}
		}
	}
	out.Template = xmlTemplate{
		Media:          "$RepresentationID$/" + r.stem + "-$Number$" + segmentExt,
		Initialization: "$RepresentationID$/" + r.stem + initExt,
		StartNumber:    r.spans[0].number, Timescale: t.Timescale, Offset: t.Ticks(start),
		Segments: timeline(r.spans),
	}
	if p.ended {
		return out
	}
	out.References = []xmlReference{{
		Type: "encoder", WallClock: dateTime(p.start.Add(start)), Time: out.Template.Offset, UTCTiming: serverClock,
	}}
	if r.early > 0 {
		out.Template.Early, out.Template.Complete = decimalSeconds(r.early), "false"
		out.Resyncs = []xmlResync{{DT: t.Ticks(r.part)}}
	}
	return out
}

// timeline compresses a list of segments.
func timeline(list []span) (out []xmlS) {
	end := int64(-1)
	for _, s := range list {
		if n := len(out); s.t == end && s.d == out[n-1].D {
			out[n-1].R++
			end += s.d
			continue
		}
		now := xmlS{D: s.d}
		if s.t != end {
			t := max(s.t, 0)
			now.T = &t
		}
		end = s.t + s.d
		out = append(out, now)
	}
	return out
}
