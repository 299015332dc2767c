package dash

import "encoding/xml"

// The elements of a manifest, as the tests read them: apart from how they are written.

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
