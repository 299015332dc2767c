package mpd

import (
	"encoding/xml"
	"math"
	"strconv"
	"strings"
	"time"
)

// The elements of a manifest, as far as we write them, in the order of the schema
// (ISO/IEC 23009-1, annex B). Attributes that are empty are left out.

type xmlMPD struct {
	XMLName      xml.Name        `xml:"urn:mpeg:dash:schema:mpd:2011 MPD"`
	Profiles     string          `xml:"profiles,attr"`
	Type         string          `xml:"type,attr"`
	Start        string          `xml:"availabilityStartTime,attr,omitempty"`
	Published    string          `xml:"publishTime,attr,omitempty"`
	Duration     string          `xml:"mediaPresentationDuration,attr,omitempty"`
	Update       string          `xml:"minimumUpdatePeriod,attr,omitempty"`
	Buffer       string          `xml:"minBufferTime,attr"`
	Window       string          `xml:"timeShiftBufferDepth,attr,omitempty"`
	Delay        string          `xml:"suggestedPresentationDelay,attr,omitempty"`
	Longest      string          `xml:"maxSegmentDuration,attr"`
	Descriptions []xmlService    `xml:"ServiceDescription"`
	Periods      []xmlPeriod     `xml:"Period"`
	UTCTimings   []xmlDescriptor `xml:"UTCTiming"`
}

type xmlService struct {
	ID      int        `xml:"id,attr"`
	Latency xmlLatency `xml:"Latency"`
	Rate    xmlRate    `xml:"PlaybackRate"`
}

// xmlLatency is in milliseconds.
type xmlLatency struct {
	Reference int   `xml:"referenceId,attr"`
	Target    int64 `xml:"target,attr"`
	Max       int64 `xml:"max,attr"`
	Min       int64 `xml:"min,attr"`
}

type xmlRate struct {
	Max string `xml:"max,attr"`
	Min string `xml:"min,attr"`
}

type xmlDescriptor struct {
	Scheme string `xml:"schemeIdUri,attr"`
	Value  string `xml:"value,attr"`
}

type xmlPeriod struct {
	ID    string   `xml:"id,attr"`
	Start string   `xml:"start,attr"`
	Sets  []xmlSet `xml:"AdaptationSet"`
}

type xmlSet struct {
	ID              int                 `xml:"id,attr"`
	Lang            string              `xml:"lang,attr,omitempty"`
	ContentType     string              `xml:"contentType,attr"`
	MaxWidth        int                 `xml:"maxWidth,attr,omitempty"`
	MaxHeight       int                 `xml:"maxHeight,attr,omitempty"`
	Alignment       bool                `xml:"segmentAlignment,attr"`
	MimeType        string              `xml:"mimeType,attr"`
	StartWithSAP    int                 `xml:"startWithSAP,attr"`
	Priority        int                 `xml:"selectionPriority,attr"`
	Supplemental    []xmlDescriptor     `xml:"SupplementalProperty"`
	Roles           []xmlDescriptor     `xml:"Role"`
	Representations []xmlRepresentation `xml:"Representation"`
}

type xmlRepresentation struct {
	ID         string          `xml:"id,attr"`
	Bandwidth  int64           `xml:"bandwidth,attr"`
	Width      int             `xml:"width,attr,omitempty"`
	Height     int             `xml:"height,attr,omitempty"`
	FrameRate  string          `xml:"frameRate,attr,omitempty"`
	SampleRate int             `xml:"audioSamplingRate,attr,omitempty"`
	Codecs     string          `xml:"codecs,attr,omitempty"`
	Channels   []xmlDescriptor `xml:"AudioChannelConfiguration"`
	Essential  []xmlDescriptor `xml:"EssentialProperty"`
	References []xmlReference  `xml:"ProducerReferenceTime"`
	Resyncs    []xmlResync     `xml:"Resync"`
	Template   xmlTemplate     `xml:"SegmentTemplate"`
}

type xmlReference struct {
	ID        int           `xml:"id,attr"`
	Type      string        `xml:"type,attr"`
	WallClock string        `xml:"wallClockTime,attr"`
	Time      int64         `xml:"presentationTime,attr"`
	UTCTiming xmlDescriptor `xml:"UTCTiming"`
}

type xmlResync struct {
	Type int   `xml:"type,attr"`
	DT   int64 `xml:"dT,attr"`
}

type xmlTemplate struct {
	Media          string `xml:"media,attr"`
	Initialization string `xml:"initialization,attr,omitempty"`
	StartNumber    int64  `xml:"startNumber,attr"`
	Timescale      int    `xml:"timescale,attr"`
	Offset         int64  `xml:"presentationTimeOffset,attr"`
	Early          string `xml:"availabilityTimeOffset,attr,omitempty"`
	Complete       string `xml:"availabilityTimeComplete,attr,omitempty"`
	Segments       []xmlS `xml:"SegmentTimeline>S"`
}

type xmlS struct {
	T *int64 `xml:"t,attr"`
	D int64  `xml:"d,attr"`
	R int    `xml:"r,attr,omitempty"`
}

// isoDuration writes an xs:duration, with milliseconds.
func isoDuration(d time.Duration) string { return "PT" + decimalSeconds(d) + "S" }

// decimalSeconds writes a duration in seconds with up to three decimals.
func decimalSeconds(d time.Duration) string {
	ms := d.Round(time.Millisecond).Milliseconds()
	text := strconv.FormatInt(ms/1000, 10)
	if rest := ms % 1000; rest > 0 {
		text += "." + strings.TrimRight(strconv.FormatInt(1000+rest, 10)[1:], "0")
	}
	return text
}

// dateTime writes an xs:dateTime, with milliseconds.
func dateTime(t time.Time) string {
	return t.UTC().Round(time.Millisecond).Format("2006-01-02T15:04:05.000Z")
}

// frameRate writes a rate as the schema wants it: a whole number, or a fraction of two.
func frameRate(rate float64) string {
	whole := math.Round(rate)
	switch {
	case math.IsNaN(rate) || rate <= 0 || rate > 1000:
		return ""
	case math.Abs(rate-whole) < 0.005:
		return strconv.Itoa(int(whole))
	case math.Abs(rate-whole*1000/1001) < 0.005:
		return strconv.Itoa(int(whole)*1000) + "/1001"
	default:
		return strconv.Itoa(int(math.Round(rate*1000))) + "/1000"
	}
}

// bandwidth is in whole kbit/s.
func bandwidth(peak int64) int64 { return max(1000, (peak+999)/1000*1000) }
