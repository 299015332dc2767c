package mpd

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
var serverClock = xmlDescriptor{schemeTime, "../../" + TimeName}

// Render writes the manifest.
func (p *Presentation) Render() ([]byte, error) {
	m := xmlMPD{
		Profiles: profileLive, Type: "dynamic",
		Buffer: isoDuration(p.Buffer), Longest: isoDuration(p.Longest),
	}
	if p.Low {
		m.Profiles = profileLow
	}
	zero := time.Duration(0)
	if p.Ended {
		m.Type = "static"
		if p.Rebased && len(p.Periods) > 0 {
			zero = p.begin()
		}
		m.Duration = isoDuration(p.End - zero)
	} else {
		m.Start, m.Published = dateTime(p.Start), dateTime(p.Published)
		m.Update, m.Window, m.Delay = isoDuration(p.Update), isoDuration(p.Window), isoDuration(p.Delay)
		m.Descriptions = []xmlService{p.service()}
		m.UTCTimings = []xmlDescriptor{serverClock}
	}
	for i := range p.Periods {
		m.Periods = append(m.Periods, p.period(&p.Periods[i], max(zero, p.Periods[i].Start), zero))
	}
	text, err := xml.MarshalIndent(m, "", " ")
	return append([]byte(xml.Header), text...), err
}

// begin is when the first segment begins.
func (p *Presentation) begin() time.Duration {
	first := time.Duration(math.MaxInt64)
	for _, s := range p.Periods[0].Sets {
		for _, r := range s.List {
			first = min(first, r.Track.Duration(r.Spans[0].T))
		}
	}
	return max(first, p.Periods[0].Start).Truncate(time.Millisecond)
}

// service says which delay is wanted and by how much the pace may differ to keep it.
func (p *Presentation) service() xmlService {
	return xmlService{
		Latency: xmlLatency{
			Target: p.Delay.Milliseconds(), Min: (p.Delay / 2).Milliseconds(), Max: (2*p.Delay + p.Longest).Milliseconds(),
		},
		Rate: xmlRate{Min: "0.96", Max: "1.04"},
	}
}

// period renders a Period that begins at a time of the presentation, which counts from zero.
func (p *Presentation) period(now *Period, start, zero time.Duration) xmlPeriod {
	out := xmlPeriod{ID: now.ID, Start: isoDuration(start - zero)}
	for i := range now.Sets {
		s := &now.Sets[i]
		a := xmlSet{ID: i, Alignment: true, StartWithSAP: 1, Priority: s.Priority}
		if s.Kind == media.Video {
			a.ContentType, a.MimeType = "video", "video/mp4"
			if others := now.others(i); others != "" {
				a.Supplemental = []xmlDescriptor{{schemeSwitching, others}}
			}
		} else {
			a.ContentType, a.MimeType, a.Lang = "audio", "audio/mp4", language(s.Language)
		}
		if s.Priority > 1 {
			a.Roles = []xmlDescriptor{{schemeRole, "main"}}
		}
		for j := range s.List {
			r := p.representation(&s.List[j], start)
			a.MaxWidth, a.MaxHeight = max(a.MaxWidth, r.Width), max(a.MaxHeight, r.Height)
			a.Representations = append(a.Representations, r)
		}
		out.Sets = append(out.Sets, a)
	}
	if now.Pictures != nil {
		out.Sets = append(out.Sets, now.Pictures.set(start))
	}
	return out
}

// others lists the other sets that show the same picture, in other codecs.
func (p *Period) others(than int) (list string) {
	for i := range p.Sets {
		if i == than || p.Sets[i].Kind != media.Video {
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

func (p *Presentation) representation(r *Representation, start time.Duration) xmlRepresentation {
	t := r.Track
	out := xmlRepresentation{ID: r.Name, Bandwidth: bandwidth(r.Peak), Codecs: t.CodecString}
	if t.Kind() == media.Video {
		out.Width, out.Height, out.FrameRate = max(t.Width, 0), max(t.Height, 0), frameRate(r.Rate)
	} else {
		out.SampleRate = max(t.SampleRate, 0)
		if t.Channels > 0 {
			out.Channels = []xmlDescriptor{{schemeChannels, strconv.Itoa(t.Channels)}}
		}
	}
	out.Template = xmlTemplate{
		Media:          "$RepresentationID$/" + r.Stem + "-$Number$" + SegmentExt,
		Initialization: "$RepresentationID$/" + r.Stem + InitExt,
		StartNumber:    r.Spans[0].Number, Timescale: t.Timescale, Offset: t.Ticks(start),
		Segments: timeline(r.Spans),
	}
	if p.Ended {
		return out
	}
	out.References = []xmlReference{{
		Type: "encoder", WallClock: dateTime(p.Start.Add(start)), Time: out.Template.Offset, UTCTiming: serverClock,
	}}
	if r.Early > 0 {
		out.Template.Early, out.Template.Complete = decimalSeconds(r.Early), "false"
		out.Resyncs = []xmlResync{{DT: t.Ticks(r.Part)}}
	}
	return out
}

// timeline compresses a list of segments.
func timeline(list []Span) (out []xmlS) {
	end := int64(-1)
	for _, s := range list {
		if n := len(out); s.T == end && s.D == out[n-1].D {
			out[n-1].R++
			end += s.D
			continue
		}
		now := xmlS{D: s.D}
		if s.T != end {
			t := max(s.T, 0)
			now.T = &t
		}
		end = s.T + s.D
		out = append(out, now)
	}
	return out
}

// picturesSet is the id of the set of pictures, whatever other sets there are.
const picturesSet = 100

// schemeTiles is that of DASH-IF IOP v4.3, section 6.2.6; of more than one picture a segment
// dash.js 5 finds the wrong one where segments do not begin at multiples of their length.
const schemeTiles, oneTile = "http://dashif.org/guidelines/thumbnail_tile", "1x1"

// set renders pictures.
func (p *Pictures) set(start time.Duration) xmlSet {
	return xmlSet{
		ID: picturesSet, ContentType: "image", MimeType: "image/jpeg", Alignment: true, StartWithSAP: 1, Priority: 1,
		Representations: []xmlRepresentation{{
			ID: p.ID, Bandwidth: bandwidth(p.Peak), Width: p.Width, Height: p.Height,
			Essential: []xmlDescriptor{{schemeTiles, oneTile}},
			Template: xmlTemplate{
				Media: p.Media, StartNumber: p.Spans[0].Number, Timescale: p.Track.Timescale, Offset: p.Track.Ticks(start),
				Segments: timeline(p.Spans),
			},
		}},
	}
}
